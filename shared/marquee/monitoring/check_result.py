"""Result of a data quality check: value, usual range and verdict."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from marquee.db.pool import Database


class Verdict(StrEnum):
    """Verdict of a check. ``WARNING`` is worth knowing, ``BAD`` needs action."""

    GOOD = "good"
    WARNING = "warning"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Check:
    """Result of a check. ``value`` is None if there are too few data; ``detail`` then says which are missing."""

    name: str
    value: float | None
    unit: str
    verdict: Verdict = Verdict.GOOD
    usual_low: float | None = None
    usual_high: float | None = None
    detail: str = ""


_WRITE = """
INSERT INTO quality_checks (time, name, value, usual_low, usual_high, unit, verdict, detail)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (time, name) DO UPDATE SET
    value = excluded.value, usual_low = excluded.usual_low, usual_high = excluded.usual_high,
    unit = excluded.unit, verdict = excluded.verdict, detail = excluded.detail"""


def check_at_most(name: str, value: float, unit: str, *, usual: float, bad: float, detail: str = "") -> Check:
    """Return a check of a value that should be small: a warning above ``usual``, bad above ``bad``."""
    verdict = Verdict.BAD if value > bad else Verdict.WARNING if value > usual else Verdict.GOOD
    return Check(name, value, unit, verdict, 0.0, usual, detail)


def write_checks(database: Database, time: datetime, checks: Iterable[Check]) -> int:
    """Write the checks of one moment, replacing those of an earlier run; return their number."""
    rows = [(time, c.name, c.value, c.usual_low, c.usual_high, c.unit, c.verdict.value, c.detail) for c in checks]
    with database.transaction() as cursor:
        cursor.executemany(_WRITE, rows)
    return len(rows)
