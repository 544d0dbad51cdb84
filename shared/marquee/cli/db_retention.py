"""``marquee db retention``: the scheduled maintenance of the tables."""

from __future__ import annotations

import argparse
from contextlib import closing

from marquee.config.settings import Settings
from marquee.db.pool import Database
from marquee.ingest.retention_terms import aggregate_remaining, delete_expired_rows


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add no arguments: the retention terms are in the database."""


def run(_: argparse.Namespace, settings: Settings) -> int:
    """Aggregate the remaining watches, then delete expired rows; no row is deleted before it is aggregated."""
    with closing(Database(settings.require("database_url").database_url)) as database:
        print(f"aggregated the watches among {aggregate_remaining(database)} records")
        delete_expired_rows(database)
        print("deleted the expired rows")
    return 0
