"""``marquee local``: the whole system on this machine."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from marquee.config.settings import Settings
from marquee.errors import MarqueeError
from marquee.local import demo, logs, status
from marquee.local.runner import running, stop_running, wait_for_signal
from marquee.local.state_dir import StateDir
from marquee.local.system import PLACES, LocalSystem, Shape

_DESCRIPTION = """\
The whole system as processes of this machine: Kafka, PostgreSQL, the functions, the bridge, the scheduler.

Its data, logs and state are in .local of the project's folder. All settings (docs/configuration.md) may be
given in the environment, but for where the parts are: the database, the objects, the delivery and Kafka are
its own. Ports are the usual ones, or others where those are taken: status tells them.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``marquee local``."""
    parser.description = _DESCRIPTION
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--home", type=Path, metavar="DIR", help="where data, logs and state are (.local)")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    up = actions.add_parser("up", help="start the system without the simulator, until Ctrl-C")
    shown = actions.add_parser("demo", help="start it, replay MovieLens live, show and account for it")
    demo.add_arguments(shown)
    for verb in (up, shown):
        _add_shape(verb)
    actions.add_parser("status", help="the parts: process, port, uptime, restarts, health")
    show = actions.add_parser("logs", help="what the parts wrote")
    show.add_argument("part", nargs="?", help="one part; all if not given")
    show.add_argument("-f", "--follow", action="store_true", help="go on as they write, until Ctrl-C")
    show.add_argument("-n", "--lines", type=int, default=20, metavar="N", help="so many lines of each (20)")
    actions.add_parser("env", help='its settings, for other verbs: eval "$(marquee local env)"')
    actions.add_parser("down", help="stop what runs here")


def _add_shape(parser: argparse.ArgumentParser) -> None:
    workers = int(os.environ["WORKERS"]) if os.environ.get("WORKERS", "").isdigit() else None
    parser.add_argument("--instances", type=int, default=1, metavar="N", help="of `recommend`, on one port")
    parser.add_argument(
        "--workers", type=int, default=workers, metavar="N", help="of each function (the variable WORKERS)"
    )


def run(args: argparse.Namespace, settings: Settings) -> int:
    """One action of ``marquee local``; returns the exit code."""
    root = project_root(Path.cwd())
    home = StateDir((args.home or root / ".local").resolve())
    console = Console(highlight=False, markup=False)
    match args.action:
        case "status":
            return status.show_status(home, console)
        case "logs":
            return logs.show_logs(home, args.part, args.lines, args.follow)
        case "env":
            return status.show_environment(home)
        case "down":
            stop_running(home)
            print("Stopped. The data stay; `marquee local up` resumes on them.")
            return 0
    for place in (name for name in PLACES if getattr(settings, name)):
        console.print(
            f"MARQUEE_{place.upper()} is set, but not used: the local system has its own.", soft_wrap=True
        )
    shape = Shape(args.instances, args.workers, customers=args.action == "demo")
    system = LocalSystem(root, home, settings, _teller(home, console), shape)
    if args.action == "demo":
        return demo.run(system, console, args)
    return _up(system, home, console)


def _teller(home: StateDir, console: Console) -> Callable[[str], None]:
    """Says what happens to whoever watches, and to ``logs/runner.log``."""

    def say(text: str) -> None:
        console.print(text, soft_wrap=True)
        with (home.logs / "runner.log").open("a") as log:
            log.write(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} {text}\n")

    return say


def project_root(start: Path) -> Path:
    """The project's folder: ``start`` or the nearest above it that holds ``infra/functions.yaml``."""
    for folder in (start, *start.parents):
        if (folder / "infra/functions.yaml").is_file():
            return folder
    raise MarqueeError(f"{start} is not inside Marquee's folder: none above it holds infra/functions.yaml")


def _up(system: LocalSystem, home: StateDir, console: Console) -> int:
    try:
        with running(home, system):
            console.print(demo.urls(system), soft_wrap=True)
            console.print("It runs until Ctrl-C, or `marquee local down`.")
            wait_for_signal()
    except KeyboardInterrupt:
        console.print("Stopped.")
    return 0
