"""Suspect accounts, in table ``suspect_accounts``: new accounts that seem to attack a movie together.

The check is :mod:`marquee.monitoring.account_anomalies`. Training leaves out all ratings and watch sessions of a
suspect until a person clears them, so that the next model is free of the attack. Suspects still get lists.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from marquee.db.pool import Database
from marquee.events.log_scale import LogScale
from marquee.monitoring.account_anomalies import (
    LEVELS,
    AttackedMovie,
    MovieRatings,
    MovieWatches,
    find_targets,
    find_watched_targets,
    level_bounds,
)
from marquee.registry.object_store.object_store import ObjectStore

WINDOW, BASELINE = timedelta(days=7), timedelta(days=180)
"""Age up to which an account is new, and period of the established accounts' events in the comparison."""
STEP = timedelta(hours=1)
DEADLINE_MS = 60_000

# Counts per period hold the events of all accounts. Those of new accounts are subtracted: they are read by user
# from `new_accounts`, which has all accounts that may be new. So no query reads the events of the others.
_PERIOD, _DAY = (
    f"date_bin(INTERVAL '{span}', {{}}, TIMESTAMPTZ '2000-01-03 00:00:00+00')" for span in ("30 days", "1 day")
)
_SINCE = _PERIOD.format("%(since)s::timestamptz")
_MAY_BE_NEW = "SELECT DISTINCT user_id FROM new_accounts WHERE time >= %(begin)s"
_UNRATED = "NOT EXISTS (SELECT 1 FROM ratings AS r WHERE r.user_id = u.user_id AND r.time < %(begin)s)"
_UNWATCHED = "NOT EXISTS (SELECT 1 FROM watch_sessions AS s WHERE s.user_id = u.user_id AND s.started < %(begin)s)"
_NEW_RATINGS = f"""
WITH accounts AS MATERIALIZED (SELECT user_id FROM ({_MAY_BE_NEW}) AS u WHERE {_UNRATED}),
records AS MATERIALIZED (
    SELECT user_id, movie_id, rating, time FROM accounts JOIN ratings USING (user_id)
    WHERE time >= %(begin)s AND time < %(now)s),
recent AS (SELECT DISTINCT ON (user_id, movie_id) * FROM records ORDER BY user_id, movie_id, time DESC)"""  # noqa: S608
# The counts end with the period of `now`: what is dated between is subtracted, too.
_COUNTS = f"""{_NEW_RATINGS},
counted (movie_id, is_new, value, n) AS (
    SELECT movie_id, true, rating, count(*) FROM recent GROUP BY 1, 3
    UNION ALL
    SELECT movie_id, false, rating, sum(ratings) FROM movie_rating_counts
    WHERE time >= {_SINCE} AND time < %(now)s GROUP BY 1, 3
    UNION ALL
    SELECT movie_id, false, rating, -count(*) FROM records GROUP BY 1, 3
    UNION ALL
    SELECT movie_id, false, rating, -count(*) FROM ratings
    WHERE time >= %(now)s AND time < {_PERIOD.format("%(now)s::timestamptz")} + INTERVAL '30 days' GROUP BY 1, 3),
rated AS (SELECT movie_id, is_new, value * rating_step() AS rating, n::bigint FROM counted)
SELECT movie_id, coalesce(sum(n) FILTER (WHERE is_new), 0)::bigint, ARRAY[LEVELS_NEW],
       coalesce(sum(n) FILTER (WHERE NOT is_new), 0)::bigint, ARRAY[LEVELS_OLD]
FROM rated GROUP BY movie_id HAVING sum(n) > 0 ORDER BY movie_id"""  # noqa: S608
# Without events before the window all accounts are new, and the events of all of them would be read for no comparison.
_HAS_ESTABLISHED = """
SELECT EXISTS (SELECT FROM ratings WHERE time < %(begin)s)
    OR EXISTS (SELECT FROM movie_session_counts WHERE time < %(begin)s - INTERVAL '1 day')"""
# A watch session begins when the user watches the movie for the first time.
_NEW_WATCHES = f"""
WITH recent AS MATERIALIZED (
    SELECT user_id, movie_id
    FROM (SELECT user_id FROM ({_MAY_BE_NEW}) AS u WHERE {_UNWATCHED} AND {_UNRATED}) AS accounts
    JOIN watch_sessions USING (user_id) WHERE started >= %(begin)s AND started < %(now)s)"""  # noqa: S608
# The day of `begin` belongs to both periods, so its sessions after `begin` are counted one by one.
_WATCH_COUNTS = f"""{_NEW_WATCHES},
counted (movie_id, new, recent, old) AS (
    SELECT movie_id, count(*), -count(*), 0 FROM recent GROUP BY 1
    UNION ALL
    SELECT movie_id, 0, coalesce(sum(sessions) FILTER (WHERE time > %(begin)s), 0),
           coalesce(sum(sessions) FILTER (WHERE time <= %(begin)s), 0)
    FROM movie_session_counts WHERE time >= {_SINCE} AND time < %(now)s GROUP BY 1
    UNION ALL
    SELECT movie_id, 0, count(*), -count(*) FROM watch_sessions
    WHERE started >= %(begin)s AND started < {_DAY.format("%(begin)s::timestamptz")} + INTERVAL '1 day' GROUP BY 1
    UNION ALL
    SELECT movie_id, 0, -count(*), 0 FROM watch_sessions
    WHERE started >= %(now)s AND started < {_DAY.format("%(now)s::timestamptz")} + INTERVAL '1 day' GROUP BY 1)
SELECT movie_id, sum(new)::bigint, sum(recent)::bigint, sum(old)::bigint
FROM counted GROUP BY movie_id HAVING sum(new + recent + old) > 0 ORDER BY movie_id"""  # noqa: S608
# New accounts are read once, however many movies they attack. Of two levels of a movie the first counts.
_MARK = """
INSERT INTO suspect_accounts (user_id, movie_id, level, time, log_p)
NEW_EVENTS
SELECT user_id, movie_id, level, %(now)s, log_p
FROM recent JOIN unnest(%(movies)s::text[], %(levels)s::text[], %(log_ps)s::float8[], %(least)s::numeric[],
                        %(greatest)s::numeric[])
    WITH ORDINALITY AS attacked (movie_id, level, log_p, least, greatest, place) USING (movie_id)
WHERE CONDITION ORDER BY user_id, movie_id, place
ON CONFLICT (user_id, movie_id) DO NOTHING"""
_MARK_RATERS = _MARK.replace("NEW_EVENTS", _NEW_RATINGS).replace(
    "CONDITION", "rating * rating_step() BETWEEN least AND greatest"
)
_MARK_WATCHERS = _MARK.replace("NEW_EVENTS", _NEW_WATCHES).replace("CONDITION", "true")


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
    with database.transaction(deadline_ms=DEADLINE_MS) as cursor:
        cursor.execute("SELECT merge_movie_counts(%s)", (now - 2 * WINDOW,))
    if not database.read(_HAS_ESTABLISHED, times, deadline_ms=DEADLINE_MS)[0][0]:
        return 0
    rated = find_targets(count_ratings(database, times, bounds))
    watched = find_watched_targets(count_watches(database, times))
    return _mark(database, _MARK_RATERS, rated, times, bounds) + _mark(database, _MARK_WATCHERS, watched, times, {})


def count_ratings(
    database: Database, times: Mapping[str, datetime], bounds: Mapping[str, tuple[float, float]]
) -> list[MovieRatings]:
    """Return the ratings of each movie by level, whose ``bounds`` are given.

    Of a new account the newest rating of a movie counts, of established ones every rating. ``times``: ``begin`` and
    ``now`` of the window of new accounts, and ``since``, in whose period of 30 days the comparison begins.
    """
    query = _COUNTS.replace("LEVELS_NEW", _count_levels(bounds, "is_new"))
    query = query.replace("LEVELS_OLD", _count_levels(bounds, "NOT is_new"))
    rows = database.read(query, times, deadline_ms=DEADLINE_MS)
    return [MovieRatings(movie, new, tuple(fresh), old, tuple(known)) for movie, new, fresh, old, known in rows]


def count_watches(database: Database, times: Mapping[str, datetime]) -> list[MovieWatches]:
    """Return the accounts that first watched each movie; ``times`` as for :func:`count_ratings`."""
    return [MovieWatches(*row) for row in database.read(_WATCH_COUNTS, times, deadline_ms=DEADLINE_MS)]


def _mark(
    database: Database,
    statement: str,
    targets: Sequence[AttackedMovie],
    times: Mapping[str, datetime],
    bounds: Mapping[str, tuple[float, float]],
) -> int:
    """Write the accounts that attack the movies, with ratings within the ``bounds`` of a level; return the new rows."""
    if not targets:
        return 0
    ranges = [bounds.get(target.level, (0.0, 0.0)) for target in targets]
    values = {
        "movies": [target.movie_id for target in targets],
        "levels": [target.level for target in targets],
        "log_ps": [target.log_p for target in targets],
        "least": [least for least, _ in ranges],
        "greatest": [greatest for _, greatest in ranges],
    }
    with database.transaction(deadline_ms=DEADLINE_MS) as cursor:
        cursor.execute(statement, {**times, **values})
        return int(cursor.rowcount)


def _count_levels(bounds: Mapping[str, tuple[float, float]], who: str) -> str:
    return ", ".join(
        f"coalesce(sum(n) FILTER (WHERE {who} AND rating BETWEEN {least:g} AND {greatest:g}), 0)::bigint"
        for least, greatest in bounds.values()
    )
