"""Inserts of single rows, and the noon that the tests of the monitor count from."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from marquee.db.pool import Database

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def insert(database: Database, table: str, **values: Any) -> None:
    """Insert one row; keywords are columns."""
    names = ", ".join(f'"{name}"' for name in values)
    with database.transaction() as cursor:
        cursor.execute(f"INSERT INTO {table} ({names}) VALUES %s", (tuple(values.values()),))


def as_time(value: object) -> datetime:
    """Return a value that the database gave as a time."""
    assert isinstance(value, datetime)
    return value
