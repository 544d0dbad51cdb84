"""Attribution of watches and ratings to impressions, by arm, version, tier and position.

Last-touch attribution: a watch session or rating counts once, for the newest impression before it in which the user saw
the movie. An hour of impressions is recomputed at every run while it is recent, then hourly until its watch window has
ended and late records have arrived.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from marquee.db.pool import Database

WATCH_WINDOW = timedelta(hours=24)
"""Time after an impression within which a watch or a rating is attributed to it."""
LATE = timedelta(hours=2)
"""Time after the end of its watch window at which an hour is computed for the last time."""
RECENT, OLDER_INTERVAL = timedelta(hours=3), timedelta(hours=1)
"""A recent hour is computed at every run, an older one at this interval."""
MAX_LOOKBACK = timedelta(days=8)
DEADLINE_MS = 120_000
_HOUR = timedelta(hours=1)

_COMPUTED = "SELECT time, min(computed) FROM impression_outcomes WHERE time >= %s GROUP BY time"

_HAS_IMPRESSIONS = "SELECT EXISTS (SELECT FROM impressions WHERE time >= %s AND time < %s)"

_UPDATE = """
WITH shown AS (
    SELECT arm, model_version, tier, position, count(*) AS shown
    FROM impressions CROSS JOIN LATERAL generate_series(1, jsonb_array_length(movies)) AS position
    WHERE time >= %(hour)s AND time < %(hour_end)s GROUP BY 1, 2, 3, 4
), events AS (
    SELECT user_id, movie_id, started AS time, last_minute - first_minute + 1 AS minutes, NULL::int AS rating
    FROM watch_sessions WHERE started >= %(hour)s AND started < %(hour_end)s + %(window)s
    UNION ALL
    SELECT user_id, movie_id, time, NULL, rating
    FROM ratings WHERE time >= %(hour)s AND time < %(hour_end)s + %(window)s
), outcomes AS (
    SELECT i.arm, i.model_version, i.tier, movie.position,
           count(minutes) AS watched, sum(minutes) AS minutes, count(rating) AS rated, sum(rating) AS rating_sum
    FROM events
    CROSS JOIN LATERAL (
        SELECT time, arm, model_version, tier, movies FROM impressions AS i
        WHERE i.user_id = events.user_id AND i.time <= events.time AND i.time > events.time - %(window)s
          AND movies @> jsonb_build_array(jsonb_build_object('movie_id', events.movie_id))
        ORDER BY i.time DESC LIMIT 1
    ) AS i
    CROSS JOIN LATERAL (
        SELECT position FROM jsonb_array_elements(i.movies) WITH ORDINALITY AS m (movie, position)
        WHERE movie ->> 'movie_id' = events.movie_id LIMIT 1
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
    """Compute the hours that are due, oldest first; return the number of rows written."""
    return sum(_compute_hour(database, hour, now) for hour in _due_hours(database, now))


def _due_hours(database: Database, now: datetime) -> list[datetime]:
    """Return the hours with impressions whose outcomes may have changed since they were computed."""
    last = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    computed: dict[datetime, datetime] = dict(
        database.read(_COMPUTED, (last - MAX_LOOKBACK,), deadline_ms=DEADLINE_MS)
    )
    hours = [last - n * _HOUR for n in range(int(MAX_LOOKBACK / _HOUR), -1, -1)]
    return [
        hour for hour in hours if _is_due(hour, computed.get(hour), now) and _has_impressions(database, hour)
    ]


def _is_due(hour: datetime, computed: datetime | None, now: datetime) -> bool:
    if computed is None or now - hour < RECENT:
        return True
    final = computed >= hour + _HOUR + WATCH_WINDOW + LATE
    return not final and now - computed >= OLDER_INTERVAL


def _has_impressions(database: Database, hour: datetime) -> bool:
    return bool(database.read(_HAS_IMPRESSIONS, (hour, hour + _HOUR), deadline_ms=DEADLINE_MS)[0][0])


def _compute_hour(database: Database, hour: datetime, now: datetime) -> int:
    parameters = {"hour": hour, "hour_end": hour + _HOUR, "window": WATCH_WINDOW, "now": now}
    with database.transaction(deadline_ms=DEADLINE_MS) as cursor:
        cursor.execute(_UPDATE, parameters)
        return int(cursor.rowcount)
