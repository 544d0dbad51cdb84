"""Migrations: numbered SQL files, forward only, each with its record in one transaction."""

from __future__ import annotations


def migrate(url: str) -> list[str]:
    """Bring the database at ``url`` up to date; returns the names of the migrations applied now.

    Safe to run by several at once. Raises MigrationError when a file that was applied has changed.
    """
    raise NotImplementedError
