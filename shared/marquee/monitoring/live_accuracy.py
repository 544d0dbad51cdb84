"""Prequential evaluation, error step: RMSE, MAE and interval coverage of ``predictions`` by time window.

Prequential evaluation (Dawid, 1984) scores predictions that were made before the outcome was known. The result is table
``live_accuracy``.

A window is recomputed if its number of ratings differs from the stored one. Predictions are only ever added, so equal
counts mean equal ratings. This rule covers new ratings, late ratings and the windows that a killed run left out.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from marquee.db.pool import Database
from marquee.evaluation.bootstrap import RESAMPLES, Accuracy, ErrorSums, Floats, draw_poisson_weights

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
# Users whose weights are in memory at a time: 16 MB.
_USER_CHUNK = 10_000

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
    """Errors and interval coverage of one arm and version, or of several."""

    def __init__(self) -> None:
        self.errors = ErrorSums()
        self._users: set[str] = set()
        # Predictions with an interval, the sum of their nominal coverages, and those within it.
        self._coverage = np.zeros(3)

    def add(self, user_ids: Sequence[str], sums: Floats, weights: NDArray[np.uint8]) -> None:
        """Add the sums of ``_SUMS`` of users [n_users, 6], and the users' weights in each resample."""
        self._users.update(user_ids)
        self.errors.add(sums[:, :3], weights)
        self._coverage += sums[:, 3:].sum(0)

    def __iadd__(self, other: _ErrorGroup) -> _ErrorGroup:
        self._users |= other._users
        self.errors += other.errors
        self._coverage += other._coverage
        return self

    def row(self) -> tuple[float | None, ...]:
        """Return the columns of ``live_accuracy`` from ``ratings`` on."""
        accuracy = self.errors.accuracy()
        assert accuracy is not None  # A group is created with its first rating.
        n, nominal, covered = self._coverage.tolist()
        rmse, mae = accuracy.rmse, accuracy.mae
        coverage = (nominal / n, covered / n) if n else (None, None)
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
    users_by_pair: defaultdict[tuple[str, str], list[tuple[Any, ...]]] = defaultdict(list)
    for user_id, arm, version, *sums in database.read(_SUMS, (start, end), deadline_ms=DEADLINE_MS):
        users_by_pair[arm, version].append((user_id, *sums))
    groups: defaultdict[tuple[str, str], _ErrorGroup] = defaultdict(_ErrorGroup)
    for (arm, version), rows in users_by_pair.items():
        pair = _add_up(rows)
        for names in {(arm, version), (arm, ""), ("", version), ALL}:
            groups[names] += pair
    return groups


def _add_up(rows: Sequence[tuple[Any, ...]]) -> _ErrorGroup:
    """Return the errors of one arm and version, whose ``rows`` have a user each."""
    group = _ErrorGroup()
    for first in range(0, len(rows), _USER_CHUNK):
        user_ids, *columns = zip(*rows[first : first + _USER_CHUNK], strict=True)
        group.add(user_ids, np.array(columns, np.float64).T, draw_poisson_weights(user_ids, RESAMPLES))
    return group


def _seconds(time: datetime) -> int:
    return int(time.timestamp())


def _on_grid(time: datetime) -> datetime:
    return datetime.fromtimestamp(_seconds(time) // _GRID_S * _GRID_S, UTC)
