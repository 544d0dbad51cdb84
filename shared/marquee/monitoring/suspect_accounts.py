"""Suspect accounts, in table ``suspect_accounts``: new accounts that seem to attack a movie together.

The check is :mod:`marquee.monitoring.account_anomalies`. Training leaves out all ratings and watch sessions of a
suspect until a person clears them, so that the next model is free of the attack. Suspects still get lists.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from marquee.db.pool import Database
from marquee.events.log_scale import LogScale
from marquee.monitoring.account_anomalies import (
    LEVELS,
    WATCHED,
    AttackedMovie,
    MovieRatings,
    MovieWatches,
    find_targets,
    find_watched_targets,
    level_bounds,
)
from marquee.registry.object_store.object_store import ObjectStore

WINDOW, BASELINE = timedelta(days=7), timedelta(days=180)
"""Age up to which an account is new, and period of the established accounts' ratings in the comparison."""
STEP = timedelta(hours=1)
DEADLINE_MS = 60_000

# An account is new if it has no rating before the window. This takes one index lookup for each account.
_NEW_RATINGS = """
WITH recent AS (
    SELECT DISTINCT ON (user_id, movie_id) user_id, movie_id, rating * rating_step() AS rating FROM ratings
    WHERE time >= %(begin)s AND time < %(now)s ORDER BY user_id, movie_id, time DESC),
accounts AS (
    SELECT user_id, NOT EXISTS (
        SELECT 1 FROM ratings AS r WHERE r.user_id = u.user_id AND r.time < %(begin)s) AS is_new
    FROM (SELECT DISTINCT user_id FROM recent) AS u)"""
_COUNTS = """RECENT,
counted AS (
    SELECT movie_id, is_new, rating FROM recent JOIN accounts USING (user_id)
    UNION ALL
    SELECT movie_id, false, rating * rating_step() FROM ratings WHERE time >= %(since)s AND time < %(begin)s)
SELECT movie_id, count(*) FILTER (WHERE is_new),
       ARRAY[LEVELS_NEW], count(*) FILTER (WHERE NOT is_new), ARRAY[LEVELS_OLD]
FROM counted GROUP BY movie_id ORDER BY movie_id"""
# A watch session begins when the user watches the movie for the first time.
_NEW_WATCHES = """
WITH recent AS (SELECT user_id, movie_id FROM watch_sessions WHERE started >= %(begin)s AND started < %(now)s),
accounts AS (
    SELECT user_id, NOT EXISTS (
        SELECT 1 FROM watch_sessions AS s WHERE s.user_id = u.user_id AND s.started < %(begin)s) AND NOT EXISTS (
        SELECT 1 FROM ratings AS r WHERE r.user_id = u.user_id AND r.time < %(begin)s) AS is_new
    FROM (SELECT DISTINCT user_id FROM recent) AS u)"""
_WATCH_COUNTS = """RECENT,
counted AS (
    SELECT movie_id, is_new, NOT is_new AS is_recent FROM recent JOIN accounts USING (user_id)
    UNION ALL
    SELECT movie_id, false, false FROM watch_sessions WHERE started >= %(since)s AND started < %(begin)s)
SELECT movie_id, count(*) FILTER (WHERE is_new), count(*) FILTER (WHERE is_recent),
       count(*) FILTER (WHERE NOT is_new AND NOT is_recent)
FROM counted GROUP BY movie_id ORDER BY movie_id"""
_MARK_WATCHERS = """
INSERT INTO suspect_accounts (user_id, movie_id, level, time, log_p)
RECENT
SELECT user_id, movie_id, %(level)s, %(now)s, %(log_p)s FROM recent JOIN accounts USING (user_id)
WHERE is_new AND movie_id = %(movie_id)s ORDER BY user_id
ON CONFLICT (user_id, movie_id) DO NOTHING"""
_MARK = """
INSERT INTO suspect_accounts (user_id, movie_id, level, time, log_p)
RECENT
SELECT user_id, movie_id, %(level)s, %(now)s, %(log_p)s FROM recent JOIN accounts USING (user_id)
WHERE is_new AND movie_id = %(movie_id)s AND rating BETWEEN %(least)s AND %(greatest)s ORDER BY user_id
ON CONFLICT (user_id, movie_id) DO NOTHING"""


class SuspectAccounts:
    """Task of the monitor that runs once an hour. ``scale`` is the rating scale of the event log."""

    def __init__(self, scale: LogScale) -> None:
        self._scale = scale
        self._checked: datetime | None = None

    def run(self, database: Database, _: ObjectStore, now: datetime) -> int:
        """Mark the suspects of the week before ``now``; return the number of new rows."""
        if self._checked is not None and now - self._checked < STEP:
            return 0
        marked = mark_suspects(database, now, self._scale)
        self._checked = now
        return marked


def mark_suspects(database: Database, now: datetime, scale: LogScale) -> int:
    """Write a row for each suspect and movie of the week before ``now``; return the number of new rows."""
    times: dict[str, Any] = {"begin": now - WINDOW, "since": now - BASELINE, "now": now}
    bounds = {level: level_bounds(level, *scale) for level in LEVELS}
    query = (
        _COUNTS.replace("RECENT", _NEW_RATINGS)
        .replace("LEVELS_NEW", _count_levels(bounds, "is_new"))
        .replace("LEVELS_OLD", _count_levels(bounds, "NOT is_new"))
    )
    rows = database.read(query, times, deadline_ms=DEADLINE_MS)
    movies = [MovieRatings(movie, new, tuple(fresh), old, tuple(known)) for movie, new, fresh, old, known in rows]
    watched = database.read(_WATCH_COUNTS.replace("RECENT", _NEW_WATCHES), times, deadline_ms=DEADLINE_MS)
    targets = find_targets(movies) + find_watched_targets([MovieWatches(*row) for row in watched])
    return sum(_mark(database, target, times, bounds.get(target.level, (0.0, 0.0))) for target in targets)


def _mark(database: Database, target: AttackedMovie, times: dict[str, Any], bounds: tuple[float, float]) -> int:
    """Write the accounts that attack a movie with ratings within ``bounds``, or by watches; return the new rows."""
    values: dict[str, Any] = {"movie_id": target.movie_id, "level": target.level, "log_p": target.log_p}
    values |= {"least": bounds[0], "greatest": bounds[1]}
    if target.level == WATCHED:
        statement = _MARK_WATCHERS.replace("RECENT", _NEW_WATCHES)
    else:
        statement = _MARK.replace("RECENT", _NEW_RATINGS)
    with database.transaction(deadline_ms=DEADLINE_MS) as cursor:
        cursor.execute(statement, {**times, **values})
        return int(cursor.rowcount)


def _count_levels(bounds: dict[str, tuple[float, float]], who: str) -> str:
    return ", ".join(
        f"count(*) FILTER (WHERE {who} AND rating BETWEEN {least:g} AND {greatest:g})"
        for least, greatest in bounds.values()
    )
