"""What became of the movies that were shown: begun within the watch window, minutes, ratings, by arm, tier and place.

A movie that is begun or rated counts once, for the last list that showed it to the user before. An hour of lists
is computed at every run while it is young, then hourly until its watch window is over and late lines are in.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from marquee.db.pool import Database

WATCH_WINDOW = timedelta(hours=24)
"""How long after a list a movie counts as begun because of it."""
LATE = timedelta(hours=2)
"""So long after its window an hour is computed for the last time."""
YOUNG, OLDER_EVERY = timedelta(hours=3), timedelta(hours=1)
REACH = timedelta(days=8)
DEADLINE_MS = 120_000
_HOUR = timedelta(hours=1)

_COMPUTED = "SELECT time, min(computed) FROM impression_outcomes WHERE time >= %s GROUP BY time"

_ANY = "SELECT EXISTS (SELECT FROM impressions WHERE time >= %s AND time < %s)"

_UPDATE = """
WITH shown AS (
    SELECT arm, model_version, tier, position, count(*) AS shown
    FROM impressions CROSS JOIN LATERAL generate_series(1, jsonb_array_length(movies)) AS position
    WHERE time >= %(hour)s AND time < %(hour_end)s GROUP BY 1, 2, 3, 4
), done AS (
    SELECT user_id, movie_id, started AS time, last_minute - first_minute + 1 AS minutes, NULL::int AS rating
    FROM watch_sessions WHERE started >= %(hour)s AND started < %(hour_end)s + %(window)s
    UNION ALL
    SELECT user_id, movie_id, time, NULL, rating
    FROM ratings WHERE time >= %(hour)s AND time < %(hour_end)s + %(window)s
), outcomes AS (
    SELECT i.arm, i.model_version, i.tier, movie.position,
           count(minutes) AS watched, sum(minutes) AS minutes, count(rating) AS rated, sum(rating) AS rating_sum
    FROM done
    CROSS JOIN LATERAL (
        SELECT time, arm, model_version, tier, movies FROM impressions AS i
        WHERE i.user_id = done.user_id AND i.time <= done.time AND i.time > done.time - %(window)s
          AND movies @> jsonb_build_array(jsonb_build_object('movie_id', done.movie_id))
        ORDER BY i.time DESC LIMIT 1
    ) AS i
    CROSS JOIN LATERAL (
        SELECT position FROM jsonb_array_elements(i.movies) WITH ORDINALITY AS f (movie, position)
        WHERE movie ->> 'movie_id' = done.movie_id LIMIT 1
    ) AS movie
    WHERE i.time >= %(hour)s AND i.time < %(hour_end)s
    GROUP BY 1, 2, 3, 4
)
INSERT INTO impression_outcomes (time, arm, model_version, tier, position, shown, watched, minutes, rated,
                                 rating_sum, computed)
SELECT %(hour)s, arm, model_version, tier, position, shown, coalesce(watched, 0), coalesce(minutes, 0),
       coalesce(rated, 0), coalesce(rating_sum, 0), %(now)s
FROM shown LEFT JOIN outcomes USING (arm, model_version, tier, position)
ORDER BY arm, model_version, tier, position
ON CONFLICT (time, arm, model_version, tier, position) DO UPDATE SET
    shown = excluded.shown, watched = excluded.watched, minutes = excluded.minutes, rated = excluded.rated,
    rating_sum = excluded.rating_sum, computed = excluded.computed"""


def update_attribution(database: Database, now: datetime) -> int:
    """Compute the hours that are due, the oldest first; returns how many rows were written."""
    return sum(_compute(database, hour, now) for hour in _due(database, now))


def _due(database: Database, now: datetime) -> list[datetime]:
    """The hours that have lists, and outcomes that may have changed since they were computed."""
    last = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    computed: dict[datetime, datetime] = dict(
        database.read(_COMPUTED, (last - REACH,), deadline_ms=DEADLINE_MS)
    )
    hours = [last - n * _HOUR for n in range(int(REACH / _HOUR), -1, -1)]
    return [hour for hour in hours if _is_due(hour, computed.get(hour), now) and _any(database, hour)]


def _is_due(hour: datetime, computed: datetime | None, now: datetime) -> bool:
    if computed is None or now - hour < YOUNG:
        return True
    final = computed >= hour + _HOUR + WATCH_WINDOW + LATE
    return not final and now - computed >= OLDER_EVERY


def _any(database: Database, hour: datetime) -> bool:
    return bool(database.read(_ANY, (hour, hour + _HOUR), deadline_ms=DEADLINE_MS)[0][0])


def _compute(database: Database, hour: datetime, now: datetime) -> int:
    parameters = {"hour": hour, "hour_end": hour + _HOUR, "window": WATCH_WINDOW, "now": now}
    with database.transaction(deadline_ms=DEADLINE_MS) as cursor:
        cursor.execute(_UPDATE, parameters)
        return int(cursor.rowcount)
