"""Live accuracy, second half: RMSE, MAE and coverage of the predictions, by windows of time.

A window is computed where its number of ratings is not the one that ``live_accuracy`` holds: predictions are
only ever added, so as many ratings are the same ratings. That finds what is new, what came in late, and what a
killed run has left.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import accumulate

from marquee.db.pool import Database
from marquee.evaluation.streaming_bootstrap import Accuracy, StreamingErrors

DEADLINE_MS = 60_000
REACH, LONGEST_REACH = timedelta(days=1), timedelta(days=8)
"""How far back windows are looked at: at least so, further where none was computed since, and at most so."""


@dataclass(frozen=True, slots=True)
class Window:
    """Windows of ``length_s`` seconds that end at every multiple of ``step_s``."""

    length_s: int
    step_s: int


WINDOWS = (Window(300, 60), Window(3_600, 300), Window(86_400, 3_600))
_GRID_S = 60  # Every step and length is a multiple of it.

ALL = ("", "")

_NEWEST = "SELECT max(time) FROM live_accuracy"

_COUNTS = """
SELECT extract(epoch FROM date_bin(%(grid)s, time, TIMESTAMPTZ 'epoch'))::bigint, count(*) FROM predictions
WHERE time >= %(since)s AND time < %(until)s AND predicted IS NOT NULL GROUP BY 1"""

_KNOWN = """
SELECT extract(epoch FROM time)::bigint, ratings FROM live_accuracy
WHERE window_s = %s AND arm = '' AND model_version = '' AND time > %s AND time <= %s"""

_SUMS = """
SELECT user_id, arm, model_version, count(*)::int, sum((predicted - rating) ^ 2), sum(abs(predicted - rating)),
       count(coverage)::int, coalesce(sum(coverage), 0),
       (count(*) FILTER (WHERE rating BETWEEN low AND high))::int
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


class _Group:
    """The errors of one arm and version, user by user."""

    def __init__(self) -> None:
        self.errors = StreamingErrors()
        self._users: set[str] = set()
        self._with_interval = self._covered = 0
        self._promised = 0.0

    def add(
        self,
        user_id: str,
        ratings: int,
        squares: float,
        absolutes: float,
        with_interval: int,
        promised: float,
        covered: int,
    ) -> None:
        """Some ratings of one user: sums over them."""
        self.errors.add(user_id, ratings, squares, absolutes)
        self._users.add(user_id)
        self._with_interval += with_interval
        self._promised += promised
        self._covered += covered

    def row(self) -> tuple[float | None, ...]:
        """The columns of ``live_accuracy`` from ``ratings`` on."""
        found = self.errors.accuracy()
        assert found is not None  # A group is made with its first rating.
        n, rmse, mae = self._with_interval, found.rmse, found.mae
        coverage = (self._promised / n, self._covered / n) if n else (None, None)
        errors = (rmse.value, rmse.low, rmse.high, mae.value, mae.low, mae.high)
        return found.ratings, len(self._users), *errors, *coverage


def update(database: Database, now: datetime, budget_s: float = 60.0) -> int:
    """Compute the windows that ended by ``now`` and have changed, the oldest first; returns how many rows.

    After ``budget_s`` seconds the rest is left to the next call.
    """
    rows, ends = 0, time.monotonic() + budget_s
    for window, end in _changed(database, now):
        rows += _compute(database, window, end)
        if time.monotonic() > ends:
            break
    return rows


def accuracy_since(database: Database, start: datetime) -> Accuracy | None:
    """Over all predictions of ratings from ``start`` on; None before the first."""
    return _groups(database, start, datetime.max.replace(tzinfo=UTC))[ALL].errors.accuracy()


def _changed(database: Database, now: datetime) -> Iterator[tuple[Window, datetime]]:
    """The windows that have other ratings than when they were computed."""
    first, last = _reach(database, now)
    counts = _Counts(database, first - timedelta(seconds=max(w.length_s for w in WINDOWS)), last)
    for window in WINDOWS:
        parameters = (window.length_s, first, last)
        known: dict[int, int] = dict(database.read(_KNOWN, parameters, deadline_ms=DEADLINE_MS))
        step = window.step_s
        for end in range(_seconds(first) // step * step + step, _seconds(last) + 1, step):
            ratings = counts.between(end - window.length_s, end)
            if ratings and ratings != known.get(end):
                yield window, datetime.fromtimestamp(end, UTC)


def _reach(database: Database, now: datetime) -> tuple[datetime, datetime]:
    ((newest,),) = database.read(_NEWEST, deadline_ms=DEADLINE_MS)
    earliest = now - LONGEST_REACH
    first = min(max(newest or earliest, earliest), now - REACH)
    return _on_grid(first), _on_grid(now)


class _Counts:
    """How many predictions there are between two times of the grid."""

    def __init__(self, database: Database, first: datetime, last: datetime) -> None:
        parameters = {"grid": timedelta(seconds=_GRID_S), "since": first, "until": last}
        found: dict[int, int] = dict(database.read(_COUNTS, parameters, deadline_ms=DEADLINE_MS))
        starts = range(_seconds(first), _seconds(last), _GRID_S)
        self._first = _seconds(first)
        self._before = list(accumulate((found.get(start, 0) for start in starts), initial=0))

    def between(self, start: int, end: int) -> int:
        return self._before[(end - self._first) // _GRID_S] - self._before[(start - self._first) // _GRID_S]


def _compute(database: Database, window: Window, end: datetime) -> int:
    groups = _groups(database, end - timedelta(seconds=window.length_s), end)
    rows = [(end, window.length_s, *names, *group.row()) for names, group in sorted(groups.items())]
    with database.transaction() as cursor:
        cursor.executemany(_WRITE, rows)
    return len(rows)


def _groups(database: Database, start: datetime, end: datetime) -> defaultdict[tuple[str, str], _Group]:
    """All ratings, those of each arm, of each version, and of each pair."""
    groups: defaultdict[tuple[str, str], _Group] = defaultdict(_Group)
    for user_id, arm, version, *sums in database.read(_SUMS, (start, end), deadline_ms=DEADLINE_MS):
        for names in {(arm, version), (arm, ""), ("", version), ALL}:
            groups[names].add(user_id, *sums)
    return groups


def _seconds(moment: datetime) -> int:
    return int(moment.timestamp())


def _on_grid(moment: datetime) -> datetime:
    return datetime.fromtimestamp(_seconds(moment) // _GRID_S * _GRID_S, UTC)
