"""Prequential evaluation, error step: RMSE, MAE and interval coverage of ``predictions`` by time window.

Prequential evaluation (Dawid, 1984) scores predictions that were made before the outcome was known. The result is table
``live_accuracy``.

A window is recomputed if its number of ratings differs from the stored one. Predictions are only ever added, so equal
counts mean equal ratings. This rule covers new ratings, late ratings and the windows that a killed run left out.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import accumulate

from marquee.db.pool import Database
from marquee.evaluation.bootstrap import Accuracy, StreamingErrors

DEADLINE_MS = 60_000
MIN_LOOKBACK, MAX_LOOKBACK = timedelta(days=1), timedelta(days=8)
"""Range of past windows to check. It grows from the minimum to the maximum with the time since the last run."""


@dataclass(frozen=True, slots=True)
class Window:
    """Sliding window of ``length_s`` seconds that ends at every multiple of ``step_s``."""

    length_s: int
    step_s: int


WINDOWS = (Window(300, 60), Window(3_600, 300), Window(86_400, 3_600))
# Every step and every length is a multiple of it.
_GRID_S = 60

ALL = ("", "")

_NEWEST = "SELECT max(time) FROM live_accuracy"

_COUNTS = """
SELECT extract(epoch FROM date_bin(%(grid)s, time, TIMESTAMPTZ 'epoch'))::bigint, count(*) FROM predictions
WHERE time >= %(since)s AND time < %(until)s AND predicted IS NOT NULL GROUP BY 1"""

_STORED = """
SELECT extract(epoch FROM time)::bigint, ratings FROM live_accuracy
WHERE window_s = %s AND arm = '' AND model_version = '' AND time > %s AND time <= %s"""

_SUMS = """
SELECT user_id, arm, model_version, count(*)::int, sum((predicted - rating * rating_step()) ^ 2),
       sum(abs(predicted - rating * rating_step())),
       count(coverage)::int, coalesce(sum(coverage), 0),
       (count(*) FILTER (WHERE rating * rating_step() BETWEEN low AND high))::int
FROM predictions WHERE time >= %s AND time < %s AND predicted IS NOT NULL
GROUP BY user_id, arm, model_version ORDER BY user_id, arm, model_version"""

_WRITE = """
INSERT INTO live_accuracy AS old (time, window_s, arm, model_version, ratings, users, rmse, rmse_low, rmse_high,
                                  mae, mae_low, mae_high, nominal_coverage, observed_coverage)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (time, window_s, arm, model_version) DO UPDATE SET
    ratings = excluded.ratings, users = excluded.users,
    rmse = excluded.rmse, rmse_low = excluded.rmse_low, rmse_high = excluded.rmse_high,
    mae = excluded.mae, mae_low = excluded.mae_low, mae_high = excluded.mae_high,
    nominal_coverage = excluded.nominal_coverage, observed_coverage = excluded.observed_coverage"""


class _ErrorGroup:
    """Errors and interval coverage of one arm and version."""

    def __init__(self) -> None:
        self.errors = StreamingErrors()
        self._users: set[str] = set()
        self._with_interval = self._covered = 0
        self._nominal = 0.0

    def add(
        self,
        user_id: str,
        ratings: int,
        squares: float,
        absolutes: float,
        with_interval: int,
        nominal: float,
        covered: int,
    ) -> None:
        """Add sums over ratings of one user."""
        self.errors.add(user_id, ratings, squares, absolutes)
        self._users.add(user_id)
        self._with_interval += with_interval
        self._nominal += nominal
        self._covered += covered

    def row(self) -> tuple[float | None, ...]:
        """Return the columns of ``live_accuracy`` from ``ratings`` on."""
        accuracy = self.errors.accuracy()
        assert accuracy is not None  # A group is created with its first rating.
        n, rmse, mae = self._with_interval, accuracy.rmse, accuracy.mae
        coverage = (self._nominal / n, self._covered / n) if n else (None, None)
        errors = (rmse.value, rmse.low, rmse.high, mae.value, mae.low, mae.high)
        return accuracy.ratings, len(self._users), *errors, *coverage


def update_accuracy(database: Database, now: datetime, budget_s: float = 60.0) -> int:
    """Compute the changed windows that end by ``now``, oldest first; return the number of rows written.

    After ``budget_s`` seconds the remaining windows are left to the next call.
    """
    rows, ends = 0, time.monotonic() + budget_s
    for window, end in _changed_windows(database, now):
        rows += _compute_window(database, window, end)
        if time.monotonic() > ends:
            break
    return rows


def accuracy_since(database: Database, start: datetime) -> Accuracy | None:
    """Return the accuracy over all predictions of ratings from ``start`` on, or None if there are none."""
    return _read_groups(database, start, datetime.max.replace(tzinfo=UTC))[ALL].errors.accuracy()


def _changed_windows(database: Database, now: datetime) -> Iterator[tuple[Window, datetime]]:
    """Yield the windows whose number of ratings differs from the stored one."""
    first, last = _lookback(database, now)
    counts = _PredictionCounts(database, first - timedelta(seconds=max(w.length_s for w in WINDOWS)), last)
    for window in WINDOWS:
        parameters = (window.length_s, first, last)
        stored: dict[int, int] = dict(database.read(_STORED, parameters, deadline_ms=DEADLINE_MS))
        step = window.step_s
        for end in range(_seconds(first) // step * step + step, _seconds(last) + 1, step):
            ratings = counts.between(end - window.length_s, end)
            if ratings and ratings != stored.get(end):
                yield window, datetime.fromtimestamp(end, UTC)


def _lookback(database: Database, now: datetime) -> tuple[datetime, datetime]:
    ((newest,),) = database.read(_NEWEST, deadline_ms=DEADLINE_MS)
    earliest = now - MAX_LOOKBACK
    first = min(max(newest or earliest, earliest), now - MIN_LOOKBACK)
    return _on_grid(first), _on_grid(now)


class _PredictionCounts:
    """Number of predictions between two times of the grid, by prefix sums."""

    def __init__(self, database: Database, first: datetime, last: datetime) -> None:
        parameters = {"grid": timedelta(seconds=_GRID_S), "since": first, "until": last}
        counts: dict[int, int] = dict(database.read(_COUNTS, parameters, deadline_ms=DEADLINE_MS))
        starts = range(_seconds(first), _seconds(last), _GRID_S)
        self._first = _seconds(first)
        self._prefix_sums = list(accumulate((counts.get(start, 0) for start in starts), initial=0))

    def between(self, start: int, end: int) -> int:
        """Return the number of predictions in [start, end)."""
        return self._prefix_sums[(end - self._first) // _GRID_S] - self._prefix_sums[(start - self._first) // _GRID_S]


def _compute_window(database: Database, window: Window, end: datetime) -> int:
    groups = _read_groups(database, end - timedelta(seconds=window.length_s), end)
    rows = [(end, window.length_s, *names, *group.row()) for names, group in sorted(groups.items())]
    with database.transaction() as cursor:
        cursor.executemany(_WRITE, rows)
    return len(rows)


def _read_groups(database: Database, start: datetime, end: datetime) -> defaultdict[tuple[str, str], _ErrorGroup]:
    """Return the errors of all ratings, of each arm, of each version, and of each pair of them."""
    groups: defaultdict[tuple[str, str], _ErrorGroup] = defaultdict(_ErrorGroup)
    for user_id, arm, version, *sums in database.read(_SUMS, (start, end), deadline_ms=DEADLINE_MS):
        for names in {(arm, version), (arm, ""), ("", version), ALL}:
            groups[names].add(user_id, *sums)
    return groups


def _seconds(time: datetime) -> int:
    return int(time.timestamp())


def _on_grid(time: datetime) -> datetime:
    return datetime.fromtimestamp(_seconds(time) // _GRID_S * _GRID_S, UTC)
