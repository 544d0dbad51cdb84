"""Rollups of records per minute, hour and day on PostgreSQL without TimescaleDB.

The views ``*_per_minute``, ``*_per_hour`` and ``*_per_day`` are exact whether rows are rolled up or not; a roll-up only
makes them fast. Each step is one transaction that adds a range of offsets and records the range, so a run that is
killed continues where it stopped. On TimescaleDB there is nothing to do.
"""

from __future__ import annotations

import time

from marquee.db.pool import Database

STEP = 250_000
"""Maximum number of offsets of one transaction."""
BUDGET_S = 60.0
DEADLINE_MS = 60_000


def roll_up(database: Database, *, budget_s: float = BUDGET_S, step: int = STEP) -> int:
    """Roll up the new records; return the number of their offsets.

    After ``budget_s`` seconds the remaining offsets are left to the next call. Raises the errors of the database.
    """
    offsets, ends = 0, time.monotonic() + budget_s
    while added := _roll_up_step(database, step):
        offsets += added
        if time.monotonic() > ends:
            break
    return offsets


def _roll_up_step(database: Database, step: int) -> int:
    with database.transaction(deadline_ms=DEADLINE_MS) as cursor:
        cursor.execute("SELECT roll_up_records(%s)", (step,))
        return int(cursor.fetchone()[0])
