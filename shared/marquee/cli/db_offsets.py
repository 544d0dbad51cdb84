"""``marquee db offsets reset``: reset the bridge's offsets after a restore of the database."""

from __future__ import annotations

import argparse
from contextlib import closing

from marquee.bridge.offset_reset import OffsetReset, reset_offsets
from marquee.config.settings import Settings
from marquee.db.pool import Database

EXIT_INCOMPLETE = 3
"""Exit code if Kafka no longer holds some of the records that the database lacks."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the action; group, topic and database are the bridge's settings."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    reset = actions.add_parser(
        "reset",
        help="let the bridge deliver again what the database lacks",
        description="Set the bridge's offsets to the first records that the database lacks.",
        epilog="Stop the bridges first. Exit code: 0 done; 3 done, but Kafka no longer holds some of the records.",
    )
    reset.add_argument("--dry-run", action="store_true", help="print the offsets without setting them")


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Reset the offsets and print a line for each partition."""
    settings.require("kafka_bootstrap", "database_url")
    with closing(Database(settings.database_url)) as database:
        resets = reset_offsets(settings, database, apply=not args.dry_run)
    for reset in resets:
        print(_describe(reset))
    return EXIT_INCOMPLETE if any(reset.lost for reset in resets) else 0


def _describe(reset: OffsetReset) -> str:
    committed = "nothing" if reset.committed is None else f"{reset.committed:,}"
    text = (
        f"partition {reset.partition}: committed {committed}, continues at {reset.target:,} "
        f"({reset.redelivered:,} redelivered)"
    )
    if reset.lost:
        text += f"; {reset.lost:,} missing records are no longer in Kafka"
    return text
