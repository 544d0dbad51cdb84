"""What users did, read back: one user's fresh history for an answer, everybody's for training."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from marquee.db.pool import Database


@dataclass(frozen=True, slots=True)
class RatedMovie:
    """One movie that a user rated."""

    movie_id: str
    rating: int
    time: datetime


@dataclass(frozen=True, slots=True)
class WatchedMovie:
    """One movie that a user watched, up to ``last_minute``."""

    movie_id: str
    last_minute: int
    time: datetime


@dataclass(frozen=True, slots=True)
class History:
    """What one user did, newest first."""

    ratings: tuple[RatedMovie, ...]
    watched: tuple[WatchedMovie, ...]


# At most this much of a user's history is read for an answer: the newest.
_NEWEST = 1_000
# Rows fetched at a time from a cursor that the server keeps.
_FETCHED = 10_000
_SORTED_WITHIN_MS = 600_000

# One statement for both, since each costs the way to the database and back.
_HISTORY = """
(SELECT true AS is_rating, movie_id, rating::integer AS value, time AS at FROM ratings
 WHERE user_id = %(user_id)s AND time >= %(since)s ORDER BY time DESC LIMIT %(newest)s)
UNION ALL
(SELECT false, movie_id, last_minute, ended FROM watch_sessions
 WHERE user_id = %(user_id)s AND ended >= %(since)s ORDER BY ended DESC LIMIT %(newest)s)
ORDER BY at DESC, movie_id"""

# What was watched and rated a week before the newest of it counts half. A hundred minutes count as much
# as a rating does.
_POPULAR = """
WITH activity AS (
    SELECT time, movie_id, records / 100.0 AS weight FROM movie_watches_per_hour
    UNION ALL
    SELECT time, movie_id, ratings FROM movie_ratings_per_day
), newest AS (SELECT max(time) AS time FROM activity)
SELECT movie_id,
       sum(weight * power(0.5, extract(epoch FROM newest.time - activity.time) / 604800.0))::double precision
           AS score
FROM activity, newest
WHERE activity.time > newest.time - INTERVAL '60 days'
GROUP BY movie_id ORDER BY score DESC, movie_id LIMIT %s"""

_RATINGS_UNTIL = """
SELECT user_id, movie_id, rating, time FROM ratings WHERE time < %s
ORDER BY time, topic_key, partition, "offset\""""

_WATCH_SESSIONS_UNTIL = """
SELECT user_id, movie_id, last_minute, started FROM watch_sessions WHERE started < %s
ORDER BY started, user_id, movie_id"""


def user_history(database: Database, user_id: str, since: datetime | None, deadline_ms: int) -> History:
    """What ``user_id`` rated and watched at or after ``since`` (None: ever), within ``deadline_ms``.

    At most the newest thousand of each; of a movie that was rated twice the newer rating. Raises
    DatabaseUnavailable when the deadline passes.
    """
    parameters = {"user_id": user_id, "since": since or "-infinity", "newest": _NEWEST}
    ratings: dict[str, RatedMovie] = {}
    watched: list[WatchedMovie] = []
    for is_rating, movie_id, value, time in database.read(_HISTORY, parameters, deadline_ms=deadline_ms):
        if is_rating:
            ratings.setdefault(movie_id, RatedMovie(movie_id, value, time))
        else:
            watched.append(WatchedMovie(movie_id, value, time))
    return History(tuple(ratings.values()), tuple(watched))


def popular_movies(database: Database, limit: int, deadline_ms: int = 5_000) -> list[tuple[str, float]]:
    """The ``limit`` movies most watched and rated of late, best first, with a score above 0."""
    rows = database.read(_POPULAR, (limit,), deadline_ms=deadline_ms)
    return [(movie_id, score) for movie_id, score in rows]


def ratings_until(database: Database, until: datetime) -> Iterator[tuple[str, str, int, datetime]]:
    """Every rating before ``until`` as (user_id, movie_id, rating, time), oldest first.

    Read in batches from one snapshot; a connection of ``database`` is in use until the end.
    """
    yield from _streamed(database, _RATINGS_UNTIL, until)


def watch_sessions_until(database: Database, until: datetime) -> Iterator[tuple[str, str, int, datetime]]:
    """Every watch session that began before ``until`` as (user_id, movie_id, last_minute, started)."""
    yield from _streamed(database, _WATCH_SESSIONS_UNTIL, until)


def _streamed(database: Database, query: str, until: datetime) -> Iterator[tuple[str, str, int, datetime]]:
    with database.transaction(deadline_ms=_SORTED_WITHIN_MS) as cursor:
        cursor.execute("DECLARE rows NO SCROLL CURSOR FOR " + query, (until,))
        while True:
            cursor.execute("FETCH %s FROM rows", (_FETCHED,))
            rows = cursor.fetchall()
            if not rows:
                return
            yield from rows
