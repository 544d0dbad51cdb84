"""``marquee db migrate``: apply the missing migrations."""

from __future__ import annotations

import argparse

from marquee.config.settings import Settings
from marquee.db.migrate import migrate


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add no arguments: the database is a setting."""


def run(_: argparse.Namespace, settings: Settings) -> int:
    """Apply the missing migrations and print their names."""
    settings.require("database_url")
    applied = migrate(settings.database_url)
    for name in applied:
        print(f"applied {name}")
    if not applied:
        print("nothing to do: the database is up to date")
    return 0
