"""``marquee local``: the whole system on this machine."""

from __future__ import annotations

import argparse
import os
import socket
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path

from rich.console import Console

from marquee.cli.argument_types import bounded_float, bounded_int
from marquee.config.base_data import read_scale
from marquee.config.fields import RATING_SCALES
from marquee.config.settings import Settings
from marquee.errors import KafkaUnavailable, MarqueeError
from marquee.events.log_scale import FIVE_STARS, LogScale
from marquee.local import demo, logs, status
from marquee.local.local_settings import LOCATION_SETTINGS
from marquee.local.process import drop_libpq_variables
from marquee.local.runner import running, stop_running, wait_for_signal
from marquee.local.shape import LOOPBACK_HOST, Shape
from marquee.local.start_hints import format_hints
from marquee.local.state_dir import StateDir
from marquee.local.system import LocalSystem
from marquee.simulate.replay import check_log_ids

_OTHER_SCALE = LogScale(1.0, 10)
_OPEN = """\
Warning: recommend, events and the app listen on {host}, without encryption. Everyone who reaches it can use the app
and make accounts in it; callers of the APIs need a key of MARQUEE_API_KEYS. Do this in a network that you trust."""
_DESCRIPTION = """\
Run the whole system as processes of this machine: Kafka, PostgreSQL, the functions, the bridge, the scheduler.

Data, logs and state are in .local of the project's folder. All settings (docs/configuration.md) can be set in the
environment, except the locations of the parts: the local system uses its own database, objects, delivery and
Kafka. Each part listens on its default port, or on another one if that is in use: see `marquee local status`.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``marquee local``."""
    parser.description = _DESCRIPTION
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--state-dir", type=Path, metavar="DIR", help="directory of data, logs and state (.local)")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    up = actions.add_parser("up", help="start the system without the simulator, until Ctrl-C")
    _add_sources(up)
    demo_parser = actions.add_parser("demo", help="start the system, replay MovieLens live, and reconcile")
    _add_demo_options(demo_parser)
    for action in (up, demo_parser):
        _add_shape(action)
    show_status = actions.add_parser("status", help="show process, port, uptime, restarts and health of each part")
    show_status.add_argument("--json", action="store_true", help="print the status as one JSON document")
    show_logs = actions.add_parser("logs", help="show the logs of the parts")
    show_logs.add_argument("part", nargs="?", help="one part; default: all")
    show_logs.add_argument("-f", "--follow", action="store_true", help="show new lines until Ctrl-C")
    show_logs.add_argument(
        "-n", "--lines", type=bounded_int(0), default=20, metavar="N", help="last lines of each log (20)"
    )
    actions.add_parser("env", help='print the settings for other commands: eval "$(marquee local env)"')
    actions.add_parser("down", help="stop the running system")


def _add_sources(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--kafka",
        default="",
        metavar="HOST:PORT",
        help="read the event log from this Kafka, not an embedded one",
    )
    parser.add_argument("--topic", metavar="T", help="topic of the event log (MARQUEE_KAFKA_TOPIC)")
    base = parser.add_mutually_exclusive_group()
    base.add_argument("--ratings", type=Path, metavar="DIR", help="train on DIR/ratings.csv instead of MovieLens")
    base.add_argument("--no-base", action="store_true", help="train on the event log alone")


def _add_demo_options(parser: argparse.ArgumentParser) -> None:
    defaults = demo.DemoOptions()
    parser.add_argument(
        "--ratings",
        type=Path,
        metavar="DIR",
        help="replay DIR, written by `marquee data import`, instead of MovieLens 100K, in a state directory of its own",
    )
    parser.add_argument(
        "--for",
        dest="duration_s",
        type=bounded_float(0, open_low=True),
        metavar="SECONDS",
        help="stop after SECONDS; default: at Ctrl-C",
    )
    parser.add_argument(
        "--corrupt",
        type=bounded_float(0, 1),
        default=defaults.corrupt,
        metavar="FRACTION",
        help=f"fraction of records to corrupt ({defaults.corrupt:g})",
    )
    parser.add_argument(
        "--records-per-second",
        type=bounded_float(0),
        default=defaults.records_per_second,
        metavar="N",
        help=f"rate of the users' records ({defaults.records_per_second:g})",
    )
    parser.add_argument("--seed", type=int, default=defaults.seed, help="random seed of the users' behavior (1)")
    parser.add_argument(
        "--bad-canary", action="store_true", help="release a bad model as a canary, which the monitor rolls back"
    )


def _add_shape(parser: argparse.ArgumentParser) -> None:
    given = os.environ.get("WORKERS", "")
    workers = int(given) if given.isascii() and given.isdecimal() else None
    parser.add_argument(
        "--instances",
        type=bounded_int(1),
        default=1,
        metavar="N",
        help="instances of `recommend` on one port (1)",
    )
    parser.add_argument(
        "--workers",
        type=bounded_int(1),
        default=workers,
        metavar="N",
        help="workers of each function (variable WORKERS)",
    )
    parser.add_argument(
        "--host",
        type=_own_address,
        default=LOOPBACK_HOST,
        metavar="ADDRESS",
        help="address of this machine on which recommend, events and the app listen, too, so that a phone reaches them;"
        " beyond loopback, callers of the APIs need a key (MARQUEE_API_KEYS)",
    )
    parser.add_argument(
        "--durable-kafka",
        action="store_true",
        help="keep Kafka's log on disk instead of in memory; slower with a backlog",
    )


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Run one action of ``marquee local``; return the exit code."""
    root = project_root(Path.cwd())
    state_dir = StateDir((args.state_dir or _default_state_dir(root, args)).resolve())
    console = Console(highlight=False, markup=False)
    match args.action:
        case "status":
            return status.show_status(state_dir, console, as_json=args.json)
        case "logs":
            return logs.show_logs(state_dir, args.part, args.lines, args.follow)
        case "env":
            return status.show_environment(state_dir)
        case "down":
            stop_running(state_dir)
            print("Stopped. The data remain; `marquee local up` continues with them.")
            return 0
    for name in overridden_settings(settings, args):
        console.print(f"MARQUEE_{name.upper()} is set, but ignored: the local system uses its own.", soft_wrap=True)
    for name in drop_libpq_variables():
        console.print(f"{name} is set, but ignored: the local system has its own database.", soft_wrap=True)
    if getattr(args, "topic", None):
        settings = replace(settings, kafka_topic=args.topic)
    shape = _create_shape(args)
    if shape.replayed and shape.ratings:
        check_log_ids(shape.ratings)
        settings = _fit_scale(settings, shape.ratings, console)
    elif shape.ratings and fit_scale(read_scale(shape.ratings), settings):
        console.print("The ratings have another scale than the event log: MARQUEE_RATING_SCALE sets the log's.")
    system = LocalSystem(root, state_dir, settings, _create_notifier(state_dir, console), shape)
    if shape.is_open:
        console.print(_OPEN.format(host=shape.host), soft_wrap=True)
    if args.action == "demo":
        options = demo.DemoOptions(args.duration_s, args.records_per_second, args.corrupt, args.seed, args.bad_canary)
        return demo.run(system, console, options)
    return _run_until_interrupted(system, state_dir, console)


def _default_state_dir(root: Path, args: argparse.Namespace) -> Path:
    """Return ``.local``, or a directory in it for a demo of other data, whose events must not mix."""
    own: Path | None = args.ratings if args.action == "demo" else None
    return root / ".local" / f"demo-{own.resolve().name}" if own else root / ".local"


def _fit_scale(settings: Settings, base: Path, console: Console) -> Settings:
    """Return the settings with an event log on the scale of ``base``, unless they name another than the default."""
    scale = read_scale(base)
    fitted = fit_scale(scale, settings)
    if scale is None or fitted is None:
        return settings
    console.print(f"The ratings are {scale[0]:g} to {scale[1]:g}: those of the event log are {fitted}.")
    return replace(settings, rating_scale=fitted.name)


def fit_scale(scale: tuple[float, float] | None, settings: Settings) -> LogScale | None:
    """Return the scale of the event log for base data on ``scale``; None for that of the settings.

    A scale that the log cannot have becomes 1 to 10, which rounds less than 1 to 5.
    """
    if scale is None or scale == FIVE_STARS or settings.rating_scale != FIVE_STARS.name:
        return None
    return own if (own := LogScale(*scale)).name in RATING_SCALES else _OTHER_SCALE


def overridden_settings(settings: Settings, args: argparse.Namespace) -> list[str]:
    """Return the settings of the environment that the local system replaces."""
    own_kafka = bool(getattr(args, "kafka", ""))
    names = [*LOCATION_SETTINGS, "base_data", "base_fraction", "release_refresh_s"]
    names += [] if own_kafka else ["kafka_options"]
    names += ["kafka_topic"] if getattr(args, "topic", None) else []
    defaults = Settings()
    return [name for name in names if getattr(settings, name) != getattr(defaults, name)]


def _create_shape(args: argparse.Namespace) -> Shape:
    if args.ratings and not (args.ratings / "ratings.csv").is_file():
        raise MarqueeError(f"{args.ratings} has no ratings.csv: give the directory that holds it")
    if args.action == "demo":
        return Shape(
            args.instances,
            args.workers,
            customer_service=True,
            app=True,
            durable_kafka=args.durable_kafka,
            ratings=args.ratings,
            replayed=True,
            host=args.host,
        )
    return Shape(
        args.instances,
        args.workers,
        durable_kafka=args.durable_kafka,
        kafka=args.kafka,
        ratings=args.ratings,
        base=not args.no_base,
        host=args.host,
    )


def _own_address(raw: str) -> str:
    """Parse an address on which this machine can listen."""
    try:
        address = ip_address(raw)
        with socket.socket(socket.AF_INET6 if address.version == 6 else socket.AF_INET) as probe:
            probe.bind((raw, 0))
    except (ValueError, OSError) as error:
        raise argparse.ArgumentTypeError(
            f"{raw!r} is not an IP address of this machine: give one, such as that of its network, or 0.0.0.0 for all"
        ) from error
    return raw


def _create_notifier(state_dir: StateDir, console: Console) -> Callable[[str], None]:
    """Return a function that prints an event and appends it to ``logs/runner.log``."""

    def notify(text: str) -> None:
        console.print(text, soft_wrap=True)
        with (state_dir.logs / "runner.log").open("a") as log:
            log.write(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} {text}\n")

    return notify


def project_root(start: Path) -> Path:
    """Return ``start`` or its nearest parent that holds ``infra/functions.yaml``."""
    for folder in (start, *start.parents):
        if (folder / "infra/functions.yaml").is_file():
            return folder
    raise MarqueeError(f"{start} is not inside the Marquee project: no parent directory holds infra/functions.yaml")


def _keep_memory_bounded(system: LocalSystem) -> Callable[[], None]:
    def watch() -> None:
        try:
            system.hand_over_if_idle()
        except KafkaUnavailable:
            pass  # The supervisor restarts it.

    return watch


def _run_until_interrupted(system: LocalSystem, state_dir: StateDir, console: Console) -> int:
    try:
        with running(state_dir, system):
            console.print(format_hints(system), soft_wrap=True)
            console.print("The system runs until Ctrl-C or `marquee local down`.")
            wait_for_signal(_keep_memory_bounded(system))
    except KeyboardInterrupt:
        console.print("Stopped.")
    return 0
