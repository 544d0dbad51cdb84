"""Days of the database's interactions, by which a snapshot takes over what has not changed since an earlier one.

Each day has a digest that the server computes from its rows. A day with the same digest has the same rows, whatever
arrived late or was deleted on others, so that it is copied from the earlier snapshot and not read again.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import msgspec
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from marquee.data.interaction_frames import concatenate

_MICROSECONDS = 86_400_000_000

Digests = Mapping[int, tuple[int, str]]
"""Number of rows and digest of each day since 1970."""


class Day(msgspec.Struct, frozen=True, array_like=True):
    """Rows of one day in the database, their digest, and how many were left out when it was read, by cause."""

    rows: int
    digest: str
    left_out: dict[str, int] = {}


class LiveDays(msgspec.Struct, frozen=True):
    """Days of each table, by its name.

    ``suspects`` is a digest of the suspect accounts, ``marks`` a hash of each mark, whose rows were left out.
    """

    suspects: str = ""
    marks: list[str] = []
    tables: dict[str, dict[int, Day]] = {}


@dataclass(frozen=True, slots=True)
class LiveSnapshot:
    """Days of an earlier snapshot, and its frames by table."""

    days: LiveDays
    frames: Mapping[str, pd.DataFrame]

    def covers(self, suspects: str, marks: Iterable[str]) -> bool:
        """Return False if a user was left out who is not left out now: their rows are missing."""
        return self.days.suspects == suspects and set(self.days.marks) <= set(marks)

    def unchanged(self, table: str, digests: Digests) -> set[int]:
        """Return the days whose rows are the same now."""
        known = self.days.tables.get(table, {})
        return {day for day, now in digests.items() if day in known and (known[day].rows, known[day].digest) == now}

    def take(self, table: str, days: set[int]) -> pd.DataFrame:
        """Return the rows of some days."""
        frame = self.frames[table]
        return frame[np.isin(day_numbers(frame), sorted(days))]


NOTHING_TAKEN = LiveSnapshot(LiveDays(), {})


def day_numbers(frame: pd.DataFrame) -> NDArray[np.int64]:
    """Return the day since 1970 of each row."""
    days: NDArray[np.int64] = frame["time"].to_numpy(np.int64) // _MICROSECONDS
    return days


def count_by_day(frame: pd.DataFrame, cause: str, counts: dict[int, Counter[str]]) -> None:
    """Add the number of rows of each day to ``counts``."""
    for day, rows in zip(*np.unique(day_numbers(frame), return_counts=True), strict=True):
        counts.setdefault(int(day), Counter())[cause] += int(rows)


def join(kept: pd.DataFrame, read: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of both, which have no day in common, in order of time."""
    if kept.empty or read.empty:
        return (read if kept.empty else kept).reset_index(drop=True)
    joined = concatenate(kept, read)
    return joined.iloc[np.argsort(joined["time"].to_numpy(), kind="stable")].reset_index(drop=True)


def digest_ids(ids: Iterable[str]) -> str:
    """Return a digest of a set of ids."""
    return hashlib.sha256("\n".join(sorted(ids)).encode()).hexdigest()
