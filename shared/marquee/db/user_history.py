"""Queries of user history: recent events of one user for serving, all ratings and sessions for training.

The table holds ratings in steps of the scale (:mod:`marquee.db.rating_steps`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Protocol

from marquee.config.timestamps import EARLIEST, LATEST
from marquee.db.pool import Database


class ByteWriter(Protocol):
    """Anything that bytes can be written to."""

    def write(self, data: bytes, /) -> object:
        """Take ``data``."""
        ...


@dataclass(frozen=True, slots=True)
class RatedMovie:
    """A movie that a user rated."""

    movie_id: str
    rating: float
    time: datetime


@dataclass(frozen=True, slots=True)
class WatchedMovie:
    """A movie that a user watched, up to ``last_minute``."""

    movie_id: str
    last_minute: int
    time: datetime


@dataclass(frozen=True, slots=True)
class History:
    """One user's history, newest first."""

    ratings: tuple[RatedMovie, ...]
    watched: tuple[WatchedMovie, ...]


# Maximum of ratings and of watch sessions that are read for an answer: the newest.
MAX_HISTORY = 1_000
# Rows fetched at a time from a server-side cursor.
_EXPORT_DEADLINE_MS = 600_000

# One statement for both, because each statement costs a round trip.
_HISTORY = """
(SELECT true AS is_rating, movie_id, rating * rating_step() AS value, time AS at FROM ratings
 WHERE user_id = %(user_id)s AND time >= %(since)s ORDER BY time DESC LIMIT %(limit)s)
UNION ALL
(SELECT false, movie_id, last_minute, ended FROM watch_sessions
 WHERE user_id = %(user_id)s AND ended >= %(since)s ORDER BY ended DESC LIMIT %(limit)s)
ORDER BY at DESC, movie_id"""

# See marquee.monitoring.movie_counts. Scores are relative to the newest record that was counted.
_POPULAR = """
SELECT movie_id, power(2, greatest(log_score - (
    SELECT extract(epoch FROM max(newest))::double precision / 604800 FROM popularity_progress), -1000)) AS score
FROM popular_movies ORDER BY log_score DESC, movie_id LIMIT %s"""

# The same from the rows themselves, for the time before the monitor's first run and for movies that it has not counted.
# Reads a limited number of rows, whatever the tables hold.
_POPULAR_OF_ROWS = """
WITH activity AS (
    SELECT date_bin('1 hour', least(min(time), now()), TIMESTAMPTZ '2000-01-03 00:00:00+00') AS time, movie_id,
           0.5 AS weight
    FROM (SELECT time, user_id, movie_id FROM watches LIMIT %(rows)s) AS watches GROUP BY user_id, movie_id
    UNION ALL
    SELECT date_bin('1 day', least(min(time), now()), TIMESTAMPTZ '2000-01-03 00:00:00+00'), movie_id, 1
    FROM (SELECT time, user_id, movie_id FROM ratings LIMIT %(rows)s) AS ratings GROUP BY user_id, movie_id
), buckets AS (
    SELECT movie_id, time, sum(weight)::double precision AS weight, max(max(time)) OVER () AS newest
    FROM activity GROUP BY movie_id, time
)
SELECT movie_id,
       sum(weight * power(2, greatest(extract(epoch FROM time - newest)::double precision / 604800, -1000))) AS score
FROM buckets GROUP BY movie_id ORDER BY score DESC, movie_id LIMIT %(limit)s"""
_MAX_ROWS = 20_000

_COPIES = {
    "ratings": """
SELECT user_id, movie_id, rating * rating_step(), (extract(epoch FROM time) * 1000000)::bigint FROM ratings
WHERE time >= %s AND time < %s ORDER BY time, topic_key, partition, "offset\"""",
    "watch_sessions": """
SELECT user_id, movie_id, last_minute, (extract(epoch FROM started) * 1000000)::bigint FROM watch_sessions
WHERE started >= %s AND started < %s ORDER BY started, user_id, movie_id""",
}
_DAY = "floor(extract(epoch FROM {}) / 86400)::int"
# The time column of each table, and the columns that its rows are compared by.
_ROWS = {
    "ratings": ("time", 'user_id, movie_id, rating, time, topic_key, partition, "offset"'),
    "watch_sessions": ("started", "user_id, movie_id, last_minute, started"),
}
_DAY_DIGESTS = """
SELECT {day}, count(*), sum(hash_record_extended(ROW({columns}), 0))::text
FROM {table} WHERE {time} >= %s AND {time} < %s GROUP BY 1"""
_SUSPECTS = """
SELECT user_id FROM suspect_accounts GROUP BY user_id HAVING count(*) > count(cleared) ORDER BY user_id"""

_IMPLAUSIBLE_TIMES = """
SELECT 'ratings', count(*) FROM ratings WHERE NOT (time >= %(earliest)s AND time < %(latest)s)
UNION ALL
SELECT 'watch_sessions', count(*) FROM watch_sessions WHERE NOT (started >= %(earliest)s AND started < %(latest)s)"""


def user_history(database: Database, user_id: str, since: datetime | None, deadline_ms: int) -> History:
    """Return the movies that ``user_id`` rated and watched at or after ``since`` (None: ever).

    At most the newest thousand of each; if a movie was rated twice, the newer rating. Raises
    :class:`DatabaseUnavailable` after ``deadline_ms``.
    """
    parameters = {"user_id": user_id, "since": since or "-infinity", "limit": MAX_HISTORY}
    return build_history(database.read(_HISTORY, parameters, deadline_ms=deadline_ms))


def build_history(rows: Iterable[tuple[bool, str, float, datetime]]) -> History:
    """Return the history of one user from rows of (is a rating, movie_id, value, time), newest first.

    If a movie was rated twice, the newer rating counts.
    """
    ratings: dict[str, RatedMovie] = {}
    watched: list[WatchedMovie] = []
    for is_rating, movie_id, value, time in rows:
        if is_rating:
            ratings.setdefault(movie_id, RatedMovie(movie_id, value, time))
        else:
            watched.append(WatchedMovie(movie_id, int(value), time))
    return History(tuple(ratings.values()), tuple(watched))


def popular_movies(database: Database, limit: int, deadline_ms: int = 5_000) -> list[tuple[str, float]]:
    """Return the ``limit`` most popular movies with their scores (above 0), best first.

    A list of the monitor's table that is too short is filled up from the rows themselves.
    """
    deadline = monotonic() + deadline_ms / 1000
    popular: list[tuple[str, float]] = database.read(_POPULAR, (limit,), deadline_ms=deadline_ms)
    if len(popular) < limit:
        parameters = {"rows": _MAX_ROWS, "limit": limit}
        remaining_ms = max(int((deadline - monotonic()) * 1000), 1)
        counted = {movie_id for movie_id, _ in popular}
        of_rows = database.read(_POPULAR_OF_ROWS, parameters, deadline_ms=remaining_ms)
        popular += [(movie_id, score) for movie_id, score in of_rows if movie_id not in counted]
    return popular[:limit]


def copy_until(
    database: Database, table: str, until: datetime, out: ByteWriter, days: Sequence[int] | None = None
) -> None:
    """Write ``ratings`` or ``watch_sessions`` before ``until`` to ``out`` as CSV, whole rows a call, oldest first.

    The columns are user_id, movie_id, value and time in microseconds since 1970. No row becomes Python objects.
    Implausible times are left out (:func:`count_implausible_times`). ``days`` since 1970 limits the rows to these days.
    """
    query = _COPIES[table]
    parameters: list[object] = [EARLIEST, min(until, LATEST)]
    if days is not None:
        if not days:
            return
        # The bounds let the server skip what is older; a late event may add an old day.
        parameters = [max(EARLIEST, _day_start(min(days))), min(until, LATEST, _day_start(max(days) + 1))]
        time = _ROWS[table][0]
        query = query.replace("ORDER BY", f"AND {_DAY.format(time)} = ANY(%s) ORDER BY")
        parameters.append(list(days))
    with database.transaction(deadline_ms=_EXPORT_DEADLINE_MS) as cursor:
        copied = cursor.mogrify(query, parameters).decode()
        cursor.copy_expert(f"COPY ({copied}) TO STDOUT (FORMAT csv)", out)


def day_digests(database: Database, table: str, until: datetime) -> dict[int, tuple[int, str]]:
    """Return the number of rows before ``until`` and a digest of them, by day since 1970 in UTC.

    Equal digests on one server mean equal rows. No row leaves the server.
    """
    time, columns = _ROWS[table]
    query = _DAY_DIGESTS.format(day=_DAY.format(time), columns=columns, table=table, time=time)
    rows = database.read(query, (EARLIEST, min(until, LATEST)), deadline_ms=_EXPORT_DEADLINE_MS)
    return {day: (count, digest) for day, count, digest in rows}


def suspect_accounts(database: Database) -> set[str]:
    """Return the accounts that training leaves out (docs/safety.md), without those that a person has cleared."""
    return {user_id for (user_id,) in database.read(_SUSPECTS, deadline_ms=_EXPORT_DEADLINE_MS)}


def count_implausible_times(database: Database) -> dict[str, int]:
    """Return the number of rows before ``EARLIEST`` or from ``LATEST`` on, by table and the cause ``time``."""
    bounds = {"earliest": EARLIEST, "latest": LATEST}
    rows = database.read(_IMPLAUSIBLE_TIMES, bounds, deadline_ms=_EXPORT_DEADLINE_MS)
    return {f"{table}: time": count for table, count in rows}


def _day_start(day: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=day)
