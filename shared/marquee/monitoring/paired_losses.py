"""Paired losses of an experiment: both models on the same events of all users, given the earlier events.

Artifacts never change and fold-in is deterministic, so what a model would have predicted can be computed for any user
at any time, whichever model served. One rating then yields a difference of two squared errors, which varies far less
than the difference between the users of two arms. A viewing yields a difference of hits: was the movie among the 20
that the model would have shown? Only viewings by users without a list in the day before count, so that no arm
influenced them.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime, timedelta

import numpy as np

from marquee.db.past_history import ratings_before, sessions_before
from marquee.db.pool import Database
from marquee.db.user_history import RatedMovie, WatchedMovie
from marquee.monitoring.experiment_timeline import Timeline
from marquee.monitoring.served_prediction import Predictor, build_state_before
from marquee.serving.engine import Engine

RATING, VIEW = "rating", "view"
LIST_LENGTH = 20
PAGE, MAX_VIEWS = 500, 300
LATE = timedelta(hours=2)
BACKLOG = timedelta(hours=1)
"""Period before the start whose ratings also count, if both models were trained before them. They arrived while the new
model was trained, evaluated and released."""
UNSHOWN = timedelta(hours=24)
"""Required time without a list before a viewing."""
DEADLINE_MS = 30_000
BUDGET_S = 60.0

_NEW_RATINGS = """
SELECT time, user_id, movie_id, min(rating) * rating_step() FROM ratings AS r
WHERE time >= %(since)s AND time < %(until)s AND NOT EXISTS (
    SELECT FROM experiment_pairs AS p WHERE p.experiment = %(experiment)s AND p.arm = %(arm)s AND p.kind = 'rating'
      AND p.user_id = r.user_id AND p.movie_id = r.movie_id AND p.time = r.time)
GROUP BY time, user_id, movie_id ORDER BY time, user_id, movie_id LIMIT %(page)s"""

# A sample that does not depend on the models, if there are more than can be computed.
_NEW_VIEWS = """
SELECT s.started, s.user_id, s.movie_id, 0 FROM watch_sessions AS s
WHERE s.started >= %(since)s AND s.started < %(until)s AND NOT EXISTS (
    SELECT FROM experiment_pairs AS p WHERE p.experiment = %(experiment)s AND p.arm = %(arm)s AND p.kind = 'view'
      AND p.user_id = s.user_id AND p.movie_id = s.movie_id AND p.time = s.started)
  AND NOT EXISTS (
    SELECT FROM recommendation_requests AS r
    WHERE r.user_id = s.user_id AND r.time >= s.started - %(unshown)s AND r.time <= s.started AND r.status = 200)
ORDER BY md5(s.user_id || ' ' || s.movie_id) LIMIT %(page)s"""

_NEWEST = "SELECT max(time) FROM experiment_pairs WHERE experiment = %s AND arm = %s AND kind = %s"

_WRITE = """
INSERT INTO experiment_pairs (time, experiment, arm, kind, user_id, movie_id, old, new)
SELECT time, %(experiment)s, %(arm)s, %(kind)s, user_id, movie_id, old, new
FROM unnest(%(times)s::timestamptz[], %(users)s::text[], %(movies)s::text[], %(old)s::float8[], %(new)s::float8[])
     AS u (time, user_id, movie_id, old, new)
ON CONFLICT DO NOTHING"""

_Event = tuple[datetime, str, str, float]
_Pair = tuple[float, float] | None


class PairedLosses:
    """Writer of ``experiment_pairs``. It shares the engines of ``predictor``; not safe to share between threads."""

    def __init__(self, predictor: Predictor, *, page: int = PAGE, budget_s: float = BUDGET_S) -> None:
        self._predictor = predictor
        self._page = page
        self._budget_s = budget_s

    def update(self, database: Database, timeline: Timeline, until: datetime) -> int:
        """Write both models' losses on new ratings and viewings before ``until``; return the number of rows."""
        ends = time.monotonic() + self._budget_s
        rows = 0
        for arm in timeline.treatments:
            if self._load_engines(timeline, arm.name, until) is None:
                continue  # Instances refuse the release as well.
            while (written := self._write_ratings(database, timeline, arm.name, until)) == self._page:
                rows += written
                if time.monotonic() > ends:
                    break
            rows += written + self._write_views(database, timeline, arm.name, until)
        return rows

    def _load_engines(self, timeline: Timeline, arm: str, at: datetime) -> tuple[Engine, Engine] | None:
        """Return control's and the arm's model at that time; None if one is refused."""
        arms = {one.name: one.version for one in timeline.release_at(at).arms}
        old = self._predictor.load_engine(arms[timeline.control.name])
        new = self._predictor.load_engine(arms[arm])
        return None if old is None or new is None else (old, new)

    def _write_ratings(self, database: Database, timeline: Timeline, arm: str, until: datetime) -> int:
        events = _read_events(database, _NEW_RATINGS, timeline, arm, RATING, until, self._page)
        if not events:
            return 0
        earlier = ratings_before(database, *_users_and_end(events), DEADLINE_MS)
        pairs = [
            _compare_ratings(*engines, event, earlier[event[1]])
            if (engines := self._load_engines(timeline, arm, event[0]))
            else None
            for event in events
        ]
        _write(database, timeline, arm, RATING, events, pairs)
        return len(events)

    def _write_views(self, database: Database, timeline: Timeline, arm: str, until: datetime) -> int:
        events = _read_events(database, _NEW_VIEWS, timeline, arm, VIEW, until, MAX_VIEWS)
        if not events:
            return 0
        users, end = _users_and_end(events)
        ratings = ratings_before(database, users, end, DEADLINE_MS)
        sessions = sessions_before(database, users, end, DEADLINE_MS)
        pairs = [
            _compare_hits(*engines, event, ratings[event[1]], sessions[event[1]])
            if (engines := self._load_engines(timeline, arm, event[0]))
            else None
            for event in events
        ]
        _write(database, timeline, arm, VIEW, events, pairs)
        return len(events)


def _compare_ratings(old: Engine, new: Engine, event: _Event, earlier: Sequence[RatedMovie]) -> _Pair:
    """Return the squared errors of both models; None if one cannot predict, or if the rating was known before."""
    at, _, movie_id, rating = event
    if any(movie.movie_id == movie_id and movie.time < at for movie in earlier):
        return None
    losses = [_squared_error(engine, event, earlier, rating) for engine in (old, new)]
    return None if losses[0] is None or losses[1] is None else (losses[0], losses[1])


def _squared_error(engine: Engine, event: _Event, earlier: Sequence[RatedMovie], rating: float) -> float | None:
    at, user_id, movie_id, _ = event
    item = engine.item_factors.items.get(movie_id)
    if item is None or engine.trained_through >= at:
        return None
    state = build_state_before(engine, user_id, at, earlier)
    if not np.isnan(state.ratings[state.items == item]).all():
        return None
    return float((engine.predict(state, np.array([item]))[0] - rating) ** 2)


def _compare_hits(
    old: Engine, new: Engine, event: _Event, ratings: Sequence[RatedMovie], sessions: Sequence[WatchedMovie]
) -> _Pair:
    """Return whether the movie is in each model's list as of the viewing; None if a model does not know it."""
    hits = []
    at, user_id, movie_id, _ = event
    for engine in (old, new):
        if movie_id not in engine.item_factors.items or engine.trained_through >= at:
            return None
        _, movies = engine.recommend(build_state_before(engine, user_id, at, ratings, sessions), LIST_LENGTH)
        hits.append(float(any(movie.movie_id == movie_id for movie in movies)))
    return hits[0], hits[1]


def _read_events(
    database: Database, query: str, timeline: Timeline, arm: str, kind: str, until: datetime, page: int
) -> list[_Event]:
    ((newest,),) = database.read(_NEWEST, (timeline.name, arm, kind), deadline_ms=DEADLINE_MS)
    # A viewing before the start is left out: the old model's lists may have led to it.
    since = timeline.started - (BACKLOG if kind == RATING else timedelta())
    parameters = {
        "experiment": timeline.name,
        "arm": arm,
        "since": since if newest is None else max(since, newest - LATE),
        "until": until,
        "unshown": UNSHOWN,
        "page": page,
    }
    return list(database.read(query, parameters, deadline_ms=DEADLINE_MS))


def _users_and_end(events: Sequence[_Event]) -> tuple[set[str], datetime]:
    """Return the users of the events, and the time of the newest one."""
    return {user for _, user, _, _ in events}, max(at for at, *_ in events)


def _write(
    database: Database, timeline: Timeline, arm: str, kind: str, events: Sequence[_Event], pairs: Sequence[_Pair]
) -> None:
    parameters = {
        "experiment": timeline.name,
        "arm": arm,
        "kind": kind,
        "times": [event[0] for event in events],
        "users": [event[1] for event in events],
        "movies": [event[2] for event in events],
        "old": [pair[0] if pair else None for pair in pairs],
        "new": [pair[1] if pair else None for pair in pairs],
    }
    with database.transaction(deadline_ms=DEADLINE_MS) as cursor:
        cursor.execute(_WRITE, parameters)
