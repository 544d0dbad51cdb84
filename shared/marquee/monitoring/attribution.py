"""Attribution of watches and ratings to impressions, by arm, version, tier and position.

Last-touch attribution: a watch session or rating counts once, for the newest impression before it in which the user saw
the movie. Triggers queue new impressions, watch sessions and ratings (``attribution_queue``). A run attributes what is
queued (``attributed_events``), so an event is looked up once and not at every run.

An hour of impressions is summed up at every run while it is recent, then hourly until its watch window has ended and
late records have arrived. Displays and clicks, which apps report, name their recommendation and need no attribution.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from marquee.db.pool import Database
from marquee.monitoring.open_hours import HOUR, is_due

WATCH_WINDOW = timedelta(hours=24)
"""Time after an impression within which a watch or a rating is attributed to it."""
CLOCK_SKEW = timedelta(minutes=5)
"""Time by which the clock of a device that reports a display or a click may be behind."""
MAX_LOOKBACK = timedelta(days=8)
DEADLINE_MS = 120_000
CHUNK, BUDGET_S = 5_000, 60.0
"""Number of queued rows of one transaction, and the time after which the rest is left to the next run."""

_COMPUTED = "SELECT time, min(computed) FROM impression_outcomes WHERE time >= %s GROUP BY time"

_WITH_IMPRESSIONS = """
SELECT hour FROM unnest(%s::timestamptz[]) AS hour
WHERE EXISTS (SELECT FROM impressions WHERE time >= hour AND time < hour + INTERVAL '1 hour')"""

_ATTRIBUTE = """
WITH queued AS (
    DELETE FROM attribution_queue
    WHERE id IN (SELECT id FROM attribution_queue ORDER BY id LIMIT %(chunk)s FOR UPDATE SKIP LOCKED)
    RETURNING kind, time, user_id, movie_id
), recent AS (
    SELECT DISTINCT kind, time, user_id, movie_id FROM queued WHERE time >= %(oldest)s
), shown AS (
    SELECT DISTINCT i.user_id, movie ->> 'movie_id' AS movie_id, i.time
    FROM recent JOIN impressions AS i ON i.user_id = recent.user_id AND i.time = recent.time,
         jsonb_array_elements(i.movies) AS movie
    WHERE kind = 'impression'
), events AS (
    SELECT s.user_id, s.movie_id, s.started AS time, 0 AS topic_key, 0 AS partition, 0::bigint AS "offset",
           NULL::smallint AS rating
    FROM recent JOIN watch_sessions AS s USING (user_id, movie_id) WHERE kind = 'session'
    UNION
    SELECT s.user_id, s.movie_id, s.started, 0, 0, 0, NULL
    FROM shown JOIN watch_sessions AS s USING (user_id, movie_id)
    WHERE s.started >= shown.time AND s.started < shown.time + %(window)s
    UNION
    SELECT r.user_id, r.movie_id, r.time, topic_key, partition, "offset", rating
    FROM recent JOIN ratings AS r USING (user_id, movie_id, time) WHERE kind = 'rating'
    UNION
    SELECT r.user_id, r.movie_id, r.time, topic_key, partition, "offset", rating
    FROM shown JOIN ratings AS r USING (user_id, movie_id)
    WHERE r.time >= shown.time AND r.time < shown.time + %(window)s
), attributed AS (
    SELECT events.*, i.time AS shown, i.arm, i.model_version, i.tier, movie.position
    FROM events
    LEFT JOIN LATERAL (
        SELECT time, arm, model_version, tier, movies FROM impressions AS i
        WHERE i.user_id = events.user_id AND i.time <= events.time AND i.time > events.time - %(window)s
          AND movies @> jsonb_build_array(jsonb_build_object('movie_id', events.movie_id))
        ORDER BY i.time DESC LIMIT 1
    ) AS i ON true
    LEFT JOIN LATERAL (
        SELECT position FROM jsonb_array_elements(i.movies) WITH ORDINALITY AS m (movie, position)
        WHERE movie ->> 'movie_id' = events.movie_id LIMIT 1
    ) AS movie ON true
), removed AS (
    DELETE FROM attributed_events AS old USING attributed AS new
    WHERE old.user_id = new.user_id AND old.movie_id = new.movie_id AND old.topic_key = new.topic_key
      AND old.partition = new.partition AND old."offset" = new."offset" AND new.shown IS NULL
), written AS (
    INSERT INTO attributed_events (user_id, movie_id, topic_key, partition, "offset", rating, shown, arm,
                                   model_version, tier, position)
    SELECT user_id, movie_id, topic_key, partition, "offset", rating, shown, arm, model_version, tier, position
    FROM attributed WHERE shown IS NOT NULL
    ON CONFLICT (user_id, movie_id, topic_key, partition, "offset") DO UPDATE SET
        shown = excluded.shown, arm = excluded.arm, model_version = excluded.model_version, tier = excluded.tier,
        position = excluded.position
)
SELECT count(*) FROM queued"""

_UPDATE = """
WITH shown AS (
    SELECT arm, model_version, tier, position, count(*) AS shown
    FROM impressions CROSS JOIN LATERAL generate_series(1, jsonb_array_length(movies)) AS position
    WHERE time >= %(hour)s AND time < %(hour_end)s GROUP BY 1, 2, 3, 4
), outcomes AS (
    SELECT arm, model_version, tier, position, count(*) FILTER (WHERE e.topic_key = 0) AS watched,
           sum(last_minute - first_minute + 1) AS minutes, count(rating) AS rated, sum(rating) AS rating_sum
    FROM attributed_events AS e
    LEFT JOIN watch_sessions AS s ON e.topic_key = 0 AND s.user_id = e.user_id AND s.movie_id = e.movie_id
    WHERE e.shown >= %(hour)s AND e.shown < %(hour_end)s GROUP BY 1, 2, 3, 4
), reported AS (
    SELECT arm, model_version, tier, position::integer, count(*) AS seen, count(*) FILTER (WHERE clicked) AS clicked
    FROM impressions AS i
    CROSS JOIN LATERAL (
        SELECT movie_id, bool_or(clicked) AS clicked FROM reported_outcomes AS r
        WHERE r.user_id = i.user_id AND r.recommendation_id = i.id
          AND r.time >= i.time - %(skew)s AND r.time < i.time + %(window)s
        GROUP BY movie_id
    ) AS r
    CROSS JOIN LATERAL (
        SELECT min(position) AS position FROM jsonb_array_elements(i.movies) WITH ORDINALITY AS m (movie, position)
        WHERE movie ->> 'movie_id' = r.movie_id
    ) AS m
    WHERE i.time >= %(hour)s AND i.time < %(hour_end)s AND position IS NOT NULL GROUP BY 1, 2, 3, 4
)
INSERT INTO impression_outcomes (time, arm, model_version, tier, position, shown, watched, minutes, rated,
                                 rating_sum, seen, clicked, computed)
SELECT %(hour)s, arm, model_version, tier, position, shown, coalesce(watched, 0), coalesce(minutes, 0),
       coalesce(rated, 0), coalesce(rating_sum, 0), coalesce(seen, 0),
       coalesce(clicked, 0), %(now)s
FROM shown LEFT JOIN outcomes USING (arm, model_version, tier, position)
LEFT JOIN reported USING (arm, model_version, tier, position)
ORDER BY arm, model_version, tier, position
ON CONFLICT (time, arm, model_version, tier, position) DO UPDATE SET
    shown = excluded.shown, watched = excluded.watched, minutes = excluded.minutes, rated = excluded.rated,
    rating_sum = excluded.rating_sum, seen = excluded.seen, clicked = excluded.clicked, computed = excluded.computed"""


def update_attribution(database: Database, now: datetime, *, budget_s: float = BUDGET_S, chunk: int = CHUNK) -> int:
    """Attribute what is queued and sum up the hours that are due, oldest first; return the number of rows written."""
    ends = time.monotonic() + budget_s
    while _attribute_chunk(database, now, chunk) == chunk:
        if time.monotonic() > ends:
            break
    return sum(_compute_hour(database, hour, now) for hour in _due_hours(database, now))


def _attribute_chunk(database: Database, now: datetime, chunk: int) -> int:
    """Attribute the oldest queued rows in one transaction; return their number."""
    parameters = {"chunk": chunk, "window": WATCH_WINDOW, "oldest": now - MAX_LOOKBACK - WATCH_WINDOW}
    with database.transaction(deadline_ms=DEADLINE_MS) as cursor:
        cursor.execute(_ATTRIBUTE, parameters)
        return int(cursor.fetchone()[0])


def _due_hours(database: Database, now: datetime) -> list[datetime]:
    """Return the hours with impressions whose outcomes may have changed since they were computed."""
    last = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    computed: dict[datetime, datetime] = dict(database.read(_COMPUTED, (last - MAX_LOOKBACK,), deadline_ms=DEADLINE_MS))
    hours = [last - n * HOUR for n in range(int(MAX_LOOKBACK / HOUR), -1, -1)]
    due = [hour for hour in hours if is_due(hour, computed.get(hour), WATCH_WINDOW, now)]
    return [hour for (hour,) in database.read(_WITH_IMPRESSIONS, (due,), deadline_ms=DEADLINE_MS)]


def _compute_hour(database: Database, hour: datetime, now: datetime) -> int:
    parameters = {"hour": hour, "hour_end": hour + HOUR, "window": WATCH_WINDOW, "skew": CLOCK_SKEW, "now": now}
    with database.transaction(deadline_ms=DEADLINE_MS) as cursor:
        cursor.execute(_UPDATE, parameters)
        return int(cursor.rowcount)
