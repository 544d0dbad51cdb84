"""``marquee rewind``: after a database was restored, let the bridge read again what it lacks."""

from __future__ import annotations

import argparse
from contextlib import closing

from marquee.bridge.offset_reset import OffsetReset, reset_offsets
from marquee.config.settings import Settings
from marquee.db.pool import Database

INCOMPLETE = 3
"""The exit code when Kafka has lines no longer that the database lacks."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which group, topic and database: the bridge's own settings say."""
    parser.epilog = (
        "Stop the bridges first. The exit code is 3 if the database lacks lines that Kafka no longer keeps; "
        "all others are read again even then."
    )
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Print a line for each partition; errors are raised."""
    settings.require("kafka_bootstrap", "database_url")
    with closing(Database(settings.database_url)) as database:
        found = reset_offsets(settings, database, apply=not args.dry_run)
    for each in found:
        print(_line(each))
    return INCOMPLETE if any(each.lost for each in found) else 0


def _line(each: OffsetReset) -> str:
    committed = "nothing" if each.committed is None else f"{each.committed:,}"
    line = f"partition {each.partition}: committed {committed}, reads on from {each.target:,} ({each.redelivered:,} again)"
    if each.lost:
        line += f"; {each.lost:,} that the database lacks are in Kafka no longer"
    return line
