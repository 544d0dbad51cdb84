"""``marquee retention``, and the job of the same name."""

from __future__ import annotations

import argparse
from contextlib import closing

from marquee.config.settings import Settings
from marquee.db.pool import Database
from marquee.ingest.retention_terms import aggregate_remaining, delete_expired_rows


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """It takes none: the terms are in the database."""


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Fold first: what is forgotten afterwards has been folded."""
    with closing(Database(settings.require("database_url").database_url)) as database:
        print(f"folded the watches among {aggregate_remaining(database)} lines")
        delete_expired_rows(database)
        print("forgot what is past its term")
    return 0
