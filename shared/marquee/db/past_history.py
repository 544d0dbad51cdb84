"""Histories of users as of an earlier time, and stored impressions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from datetime import datetime, timedelta
from typing import NamedTuple, TypeVar

import msgspec

from marquee.db.pool import Database
from marquee.db.user_history import MAX_HISTORY, History, RatedMovie, WatchedMovie, build_history
from marquee.events.batches import Impression, ImpressionMovie, ListInputs

_DEADLINE_MS = 60_000
MAX_EARLIER = 50_000
"""Maximum number of ratings, or of watch sessions, that are read for several users at once."""

_Movie = TypeVar("_Movie", RatedMovie, WatchedMovie)

# A session that continued after `until` is cut there, assuming one minute of the movie per minute of time.
_HISTORY_UNTIL = """
(SELECT true, movie_id, rating * rating_step(), time AS at FROM ratings
 WHERE user_id = %(user_id)s AND time >= %(since)s AND time <= %(until)s ORDER BY time DESC LIMIT %(limit)s)
UNION ALL
(SELECT false, movie_id, greatest(first_minute, last_minute
     - ceil(extract(epoch FROM greatest(ended - %(until)s, INTERVAL '0')) / 60)::integer), least(ended, %(until)s) AS at
 FROM watch_sessions WHERE user_id = %(user_id)s AND ended >= %(since)s AND started <= %(until)s
 ORDER BY ended DESC LIMIT %(limit)s)
ORDER BY at DESC, movie_id"""

_RATINGS_BEFORE = """
SELECT user_id, movie_id, rating * rating_step(), time FROM ratings WHERE user_id = ANY(%s) AND time < %s
ORDER BY time DESC, topic_key DESC, partition DESC, "offset" DESC LIMIT %s"""
_SESSIONS_BEFORE = """
SELECT user_id, movie_id, last_minute, ended FROM watch_sessions WHERE user_id = ANY(%s) AND ended < %s
ORDER BY ended DESC LIMIT %s"""

_COLUMNS = """
SELECT id, time, user_id, arm, model_version, release, tier, movies::text, coalesce(explored, false),
       coalesce(eligible, 0), coalesce(policy, 0), coalesce(notes, '{}'), coalesce(page, 1), coalesce(took_ms, 0),
       inputs::text
FROM impressions """
_BY_ID = _COLUMNS + "WHERE id = %s ORDER BY time LIMIT 1"
_BEFORE = _COLUMNS + "WHERE (time, id) < (%s, %s) ORDER BY time DESC, id DESC LIMIT %s"
_LATEST = "infinity"
_CHUNK = 500

# A list counts if the user's previous list is at least half an hour older, as users repeat requests.
_OUTCOMES = f"""
WITH asked AS MATERIALIZED (
    SELECT id, time, lag(time) OVER (PARTITION BY user_id ORDER BY time) AS before FROM impressions
    WHERE time >= %(since)s - INTERVAL '30 minutes' AND time < %(until)s
), counted AS (
    SELECT id, time FROM asked
    WHERE time >= %(since)s AND (before IS NULL OR time - before > INTERVAL '30 minutes')
), lists AS (
    {_COLUMNS} JOIN counted USING (id, time)
    WHERE release > 0 AND tier <> 'last-resort' AND jsonb_array_length(movies) = %(length)s
      AND inputs IS NOT NULL AND NOT inputs ? 'request'
    ORDER BY time DESC LIMIT %(limit)s
)
SELECT lists.*, CASE WHEN %(clicks)s
    THEN ARRAY(SELECT r.movie_id FROM reported_outcomes AS r
               WHERE r.user_id = lists.user_id AND r.recommendation_id = lists.id AND r.clicked
                 AND r.time <= lists.time + %(window)s)
    ELSE ARRAY(SELECT s.movie_id FROM watch_sessions AS s WHERE s.user_id = lists.user_id
               AND s.started > lists.time AND s.started <= lists.time + %(window)s) END
FROM lists"""  # noqa: S608

_movies = msgspec.json.Decoder(tuple[ImpressionMovie, ...])
_inputs = msgspec.json.Decoder(ListInputs)


def user_history_until(database: Database, user_id: str, since: datetime | None, until: datetime) -> History:
    """Return the movies that a user rated and watched from ``since`` (None: ever) to ``until``, newest first.

    Records that arrived late count, although they were not known at ``until``.
    """
    parameters = {"user_id": user_id, "since": since or "-infinity", "until": until, "limit": MAX_HISTORY}
    return build_history(database.read(_HISTORY_UNTIL, parameters, deadline_ms=_DEADLINE_MS))


def ratings_before(
    database: Database, users: Collection[str], before: datetime, deadline_ms: int
) -> defaultdict[str, list[RatedMovie]]:
    """Return the ratings of several users before a time by user, newest first; at most :data:`MAX_EARLIER` in all."""
    return _read_before(database, _RATINGS_BEFORE, RatedMovie, users, before, deadline_ms)


def sessions_before(
    database: Database, users: Collection[str], before: datetime, deadline_ms: int
) -> defaultdict[str, list[WatchedMovie]]:
    """Return the watch sessions of several users that ended before a time, as :func:`ratings_before`."""
    return _read_before(database, _SESSIONS_BEFORE, WatchedMovie, users, before, deadline_ms)


def _read_before(
    database: Database,
    query: str,
    kind: Callable[[str, int, datetime], _Movie],
    users: Collection[str],
    before: datetime,
    deadline_ms: int,
) -> defaultdict[str, list[_Movie]]:
    found: defaultdict[str, list[_Movie]] = defaultdict(list)
    for user_id, movie_id, value, at in database.read(
        query, (list(users), before, MAX_EARLIER), deadline_ms=deadline_ms
    ):
        found[user_id].append(kind(movie_id, value, at))
    return found


def find_impression(database: Database, recommendation_id: str) -> Impression | None:
    """Return the impression of a recommendation; None if there is none."""
    rows = database.read(_BY_ID, (recommendation_id,), deadline_ms=_DEADLINE_MS)
    return _make_impression(rows[0]) if rows else None


def iter_last_impressions(database: Database, limit: int) -> Iterator[Impression]:
    """Yield up to ``limit`` impressions, newest first."""
    time: object = _LATEST
    identity = ""
    while limit > 0:
        rows = database.read(_BEFORE, (time, identity, min(limit, _CHUNK)), deadline_ms=_DEADLINE_MS)
        if not rows:
            return
        yield from map(_make_impression, rows)
        limit -= len(rows)
        identity, time = rows[-1][0], rows[-1][1]


class LoggedOutcome(NamedTuple):
    """An impression, and the movies that its user began, or clicked, within a window after it."""

    shown: Impression
    begun: frozenset[str]


def read_outcomes(
    database: Database,
    since: datetime,
    until: datetime,
    window: timedelta,
    *,
    length: int,
    limit: int,
    clicks: bool = False,
) -> Iterator[LoggedOutcome]:
    """Yield up to ``limit`` lists of ``length`` movies with their outcomes, newest first.

    A list counts if it had no parameters, was made with a release, and was the user's first within half an hour. With
    ``clicks``, the outcomes are the movies of the list that its user clicked, instead of all movies begun.
    """
    parameters = {"since": since, "until": until, "window": window, "length": length, "limit": limit, "clicks": clicks}
    for row in database.read(_OUTCOMES, parameters, deadline_ms=_DEADLINE_MS):
        yield LoggedOutcome(_make_impression(row[:15]), frozenset(row[-1]))


def _make_impression(row: tuple[object, ...]) -> Impression:
    fields = list(row)
    fields[7] = _movies.decode(str(row[7]))
    fields[11] = tuple(row[11])  # type: ignore[arg-type]
    fields[14] = None if row[14] is None else _inputs.decode(str(row[14]))
    return Impression(*fields)  # type: ignore[arg-type]
