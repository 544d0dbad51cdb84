"""Forgetting raw rows after their terms, where no TimescaleDB does it by itself."""

from __future__ import annotations

from marquee.telemetry.database import Database

_WITHIN_MS = 600_000


def forget_old_rows(database: Database) -> None:
    """Delete what is older than its table's term; does nothing on TimescaleDB, whose policies do it."""
    with database.transaction(deadline_ms=_WITHIN_MS) as cursor:
        cursor.execute("SELECT forget_old_rows()")
