"""``marquee monitor``: one run of what the function of the same name does by the clock."""

from __future__ import annotations

import argparse
from contextlib import closing

from marquee.config.settings import Settings
from marquee.db.pool import Database
from marquee.monitoring.run import RunSummary
from marquee.monitoring.run import run_monitor as run_tasks
from marquee.monitoring.tasks import tasks
from marquee.registry.object_store.connect import connect


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``marquee monitor``."""
    parser.epilog = "Exit code: 0 done, or another run is at work; 1 a task failed."
    parser.add_argument("--only", metavar="TASK", help="one task alone, such as quality_checks")


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Run once, and say what came of it."""
    settings.require("database_url", "objects_url")
    store = connect(settings.objects_url)
    every = tasks(store, settings)
    chosen = [task for task in every if args.only in (None, task.name)]
    if not chosen:
        print(f"there is no task {args.only}: it should be one of {', '.join(t.name for t in every)}")
        return 2
    with closing(Database(settings.database_url, connections=2)) as database:
        summary = run_tasks(database, store, chosen)
    _show(summary)
    return 1 if summary.failed else 0


def _show(summary: RunSummary) -> None:
    if not summary.ran:
        print("another run is at work; this one leaves it to that")
    for done in summary.tasks:
        print(f"{done.task:<20}{done.rows:>9,} rows  {done.seconds:6.1f} s  {done.error}".rstrip())
