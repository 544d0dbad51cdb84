"""``marquee run monitor``: one run of the scheduled function ``monitor``."""

from __future__ import annotations

import argparse
from contextlib import closing

import msgspec

from marquee.cli.action_arguments import add_json_option
from marquee.cli.text_table import text_table
from marquee.config.settings import Settings
from marquee.db.pool import Database
from marquee.monitoring.run import RunSummary, run_monitor
from marquee.monitoring.tasks import create_tasks
from marquee.registry.object_store.connect import connect


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``marquee run monitor``."""
    parser.epilog = "Exit codes: 0 done, or another run is active; 1 a task failed."
    add_json_option(parser)
    parser.add_argument("--only", metavar="TASK", help="run only this task, such as quality_checks")


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Run the tasks once and print a summary."""
    settings.require("database_url", "objects_url")
    store = connect(settings.objects_url, read_only=True)
    tasks = create_tasks(store, settings, lambda: connect(settings.objects_url))
    chosen = [task for task in tasks if args.only in (None, task.name)]
    if not chosen:
        print(f"Unknown task {args.only!r}: expected one of {', '.join(task.name for task in tasks)}")
        return 2
    with closing(Database(settings.database_url, connections=2)) as database:
        summary = run_monitor(database, store, chosen)
    if args.json:
        print(msgspec.json.encode(summary).decode())
    else:
        _print_summary(summary)
    return 1 if summary.failed else 0


def _print_summary(summary: RunSummary) -> None:
    if not summary.ran:
        print("Another run is active; nothing was done.")
        return
    rows = ((r.task, f"{r.rows:,}", f"{r.seconds:.1f}", r.error) for r in summary.tasks)
    print(text_table(("TASK", "ROWS", "SECONDS", "ERROR"), rows))
