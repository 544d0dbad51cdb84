"""Exposures of an experiment: its users, with their requests, lists and viewings by hour.

The source is the streaming service's log line of each request, which exists even if an answer failed or was late, or
if its impression was lost. The arm is computed from the releases (:mod:`marquee.monitoring.experiment_timeline`).
Impressions only show if another arm has served a user.

An hour is computed as a whole. It is final once all windows of its lists are over and late records have arrived, so a
run that is killed, repeated, or run beside another one writes the same rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from marquee.db.pool import Database
from marquee.experiments.declaration import Declaration
from marquee.monitoring.experiment_days import write_days
from marquee.monitoring.experiment_timeline import Timeline
from marquee.monitoring.open_hours import HOUR, LATE, is_due

DEADLINE_MS = 60_000
DEFAULT_WINDOW = timedelta(minutes=60)
SESSION_GAP = timedelta(minutes=30)
"""Lists of one user within this time of the one before are one list."""
SHOWN_WINDOW = timedelta(hours=24)
"""Time after the first list with a movie within which its viewing counts as minutes of movies shown."""
PAST = timedelta(days=14)
"""Time before the start from which covariates and baselines are taken."""
_CHUNK = 20_000

_ASKING = """
SELECT DISTINCT user_id FROM recommendation_requests AS r
WHERE time >= %(since)s AND time < %(until)s
  AND NOT EXISTS (SELECT FROM experiment_users AS e WHERE e.experiment = %(experiment)s AND e.user_id = r.user_id)"""

_ENROL = """
INSERT INTO experiment_users (experiment, user_id, arm, enrolled, first_asked, pre_minutes, pre_asks)
SELECT %(experiment)s, u.user_id, u.arm, u.enrolled, asked.first, coalesce(watched.minutes, 0), coalesce(past.asks, 0)
FROM unnest(%(users)s::text[], %(arms)s::text[], %(enrolled)s::timestamptz[]) AS u (user_id, arm, enrolled)
CROSS JOIN LATERAL (
    SELECT min(time) AS first FROM recommendation_requests AS r
    WHERE r.user_id = u.user_id AND r.time >= u.enrolled AND r.time < %(until)s) AS asked
CROSS JOIN LATERAL (
    SELECT sum(last_minute - first_minute + 1) AS minutes FROM watch_sessions AS s
    WHERE s.user_id = u.user_id AND s.started >= %(past)s AND s.started < %(started)s) AS watched
CROSS JOIN LATERAL (
    SELECT count(*) AS asks FROM recommendation_requests AS r
    WHERE r.user_id = u.user_id AND r.time >= %(past)s AND r.time < %(started)s) AS past
WHERE asked.first IS NOT NULL
ON CONFLICT (experiment, user_id) DO NOTHING"""

# Both columns only ever go from nothing to something, so impressions may be read again.
_MARK_SHOWN = """
WITH shown AS (
    SELECT user_id, (array_agg(arm ORDER BY time))[1] AS first, array_agg(DISTINCT arm) AS arms FROM impressions
    WHERE time >= %(since)s AND time < %(until)s AND release = ANY (%(releases)s) AND arm <> 'outside'
    GROUP BY user_id
)
UPDATE experiment_users AS e
SET shown_arm = coalesce(e.shown_arm, shown.first),
    crossed = e.crossed OR NOT ARRAY[e.arm] @> shown.arms
FROM shown WHERE e.experiment = %(experiment)s AND e.user_id = shown.user_id
  AND (e.shown_arm IS NULL OR NOT e.crossed AND NOT ARRAY[e.arm] @> shown.arms)"""

_COMPUTED = "SELECT time, min(computed) FROM experiment_hours WHERE experiment = %s AND time >= %s GROUP BY time"

# answered: as in `availability`. `pause` is the time since the user's answered request before this one. Teams are known
# from impressions alone. One that is lost takes movies of both teams with it, so that it favors neither.
_HOUR_ROWS = """
WITH asked AS (
    SELECT r.user_id, e.arm, e.enrolled, r.time, r.movie_ids,
           r.status = 200 AND r.response_ms <= %(timeout_ms)s AS answered,
           r.response_ms > %(timeout_ms)s OR r.status <> 200 AND r.response_ms = %(timeout_ms)s AS late
    FROM recommendation_requests AS r JOIN experiment_users AS e USING (user_id)
    WHERE e.experiment = %(experiment)s AND r.time >= %(hour)s - %(gap)s AND r.time < %(hour_end)s
      AND r.time < %(until)s AND r.time >= e.enrolled
), lists AS (
    SELECT user_id, time, movie_ids FROM (
        SELECT *, time - lag(time) OVER (PARTITION BY user_id ORDER BY time) AS pause FROM asked WHERE answered) AS a
    WHERE time >= %(hour)s AND (pause IS NULL OR pause > %(gap)s) AND time + %(window)s <= %(until)s
), begun AS (
    SELECT l.user_id, count(*) AS lists, coalesce(sum(w.watched), 0) AS watched, sum(c.clicked) AS clicked
    FROM lists AS l
    CROSS JOIN LATERAL (
        SELECT count(*) AS watched FROM watch_sessions AS s
        WHERE s.user_id = l.user_id AND s.movie_id = ANY (l.movie_ids)
          AND s.started >= l.time AND s.started < l.time + %(window)s) AS w
    CROSS JOIN LATERAL (
        SELECT count(DISTINCT movie_id) AS clicked FROM reported_outcomes AS r
        WHERE r.user_id = l.user_id AND r.clicked AND r.movie_id = ANY (l.movie_ids)
          AND r.time >= l.time AND r.time < l.time + %(window)s) AS c
    GROUP BY l.user_id
), sessions AS (
    SELECT s.user_id, sum(s.last_minute - s.first_minute + 1) AS all_minutes,
           sum(s.last_minute - s.first_minute + 1) FILTER (WHERE s.started <= shown.first + %(shown_window)s) AS minutes
    FROM watch_sessions AS s JOIN experiment_users AS e USING (user_id)
    CROSS JOIN LATERAL (
        SELECT min(time) AS first FROM recommendation_requests AS r
        WHERE r.user_id = s.user_id AND r.time >= e.enrolled AND r.time <= s.started
          AND r.movie_ids @> ARRAY[s.movie_id]) AS shown
    WHERE e.experiment = %(experiment)s AND s.started >= %(hour)s AND s.started < %(hour_end)s
      AND s.started < %(until)s AND s.started >= e.first_asked
    GROUP BY s.user_id
), teams AS (
    SELECT i.user_id, i.time, team.*
    FROM (SELECT *, time - lag(time) OVER (PARTITION BY user_id ORDER BY time) AS pause FROM impressions
          WHERE release = ANY (%(releases)s) AND time >= %(hour)s - %(gap)s AND time < %(hour_end)s
            AND inputs ->> 'teams' <> '' AND page = 1) AS i
    CROSS JOIN LATERAL (
        SELECT substr(i.inputs ->> 'teams', position::integer, 1) = '1' AS is_new, movie ->> 'movie_id' AS movie_id
        FROM jsonb_array_elements(i.movies) WITH ORDINALITY AS m (movie, position)) AS team
    WHERE i.time >= %(hour)s AND (pause IS NULL OR pause > %(gap)s) AND i.time + %(window)s <= %(until)s
), drafts AS (
    SELECT user_id, count(DISTINCT time) AS drafted, count(*) FILTER (WHERE begun AND NOT is_new) AS begun_old,
           count(*) FILTER (WHERE begun AND is_new) AS begun_new
    FROM (SELECT t.*, EXISTS (
              SELECT FROM watch_sessions AS s WHERE s.user_id = t.user_id AND s.movie_id = t.movie_id
                AND s.started >= t.time AND s.started < t.time + %(window)s) OR EXISTS (
              SELECT FROM ratings AS r WHERE r.user_id = t.user_id AND r.movie_id = t.movie_id
                AND r.time >= t.time AND r.time < t.time + %(window)s) AS begun FROM teams AS t) AS shown
    GROUP BY user_id
), counts AS (
    SELECT user_id, count(*) AS asks, count(*) FILTER (WHERE late) AS late,
           count(*) FILTER (WHERE NOT answered AND NOT late) AS failed
    FROM asked WHERE time >= %(hour)s GROUP BY user_id
)
INSERT INTO experiment_hours (time, experiment, user_id, arm, asks, failed, late, lists, watched, minutes, all_minutes,
                              clicked, drafted, begun_old, begun_new, computed)
SELECT %(hour)s, %(experiment)s, user_id, e.arm, coalesce(asks, 0), coalesce(failed, 0), coalesce(late, 0),
       coalesce(lists, 0), coalesce(watched, 0), coalesce(minutes, 0), coalesce(all_minutes, 0),
       coalesce(clicked, 0),
       coalesce(drafted, 0), coalesce(begun_old, 0), coalesce(begun_new, 0), %(now)s
FROM counts FULL JOIN sessions USING (user_id) FULL JOIN begun USING (user_id) FULL JOIN drafts USING (user_id)
JOIN experiment_users AS e USING (user_id)
WHERE e.experiment = %(experiment)s ORDER BY user_id
ON CONFLICT (experiment, user_id, time) DO UPDATE SET
    asks = excluded.asks, failed = excluded.failed, late = excluded.late, lists = excluded.lists,
    watched = excluded.watched, minutes = excluded.minutes, all_minutes = excluded.all_minutes,
    clicked = excluded.clicked, drafted = excluded.drafted, begun_old = excluded.begun_old,
    begun_new = excluded.begun_new, computed = excluded.computed"""


@dataclass(frozen=True, slots=True)
class ExposureRules:
    """Time after a list within which a movie counts as begun, and the timeout of the caller."""

    window: timedelta
    caller_timeout_ms: int


def begun_window(declaration: Declaration) -> timedelta:
    """Return the time after a list within which a movie counts as begun."""
    guardrail = declaration.guardrails.get("watched")
    return DEFAULT_WINDOW if guardrail is None else timedelta(minutes=guardrail.window_min)


def update_exposures(
    database: Database, timeline: Timeline, rules: ExposureRules, until: datetime, now: datetime
) -> int:
    """Enrol the users who asked before ``until`` and compute the hours that are due; return the rows written."""
    since = _read_progress(database, timeline)
    rows = _enrol_users(database, timeline, since, until)
    _mark_shown(database, timeline, since, until)
    return rows + sum(
        _compute_hour(database, timeline, rules, hour, until, now)
        for hour in _due_hours(database, timeline, rules, until, now)
    )


def _read_progress(database: Database, timeline: Timeline) -> datetime:
    """Return the time from which requests may be new: two hours before the newest hour computed, or the start."""
    query = "SELECT max(time) FROM experiment_hours WHERE experiment = %s"
    ((newest,),) = database.read(query, (timeline.name,), deadline_ms=DEADLINE_MS)
    start = timeline.started
    return start if newest is None else max(start, newest - LATE)


def _enrol_users(database: Database, timeline: Timeline, since: datetime, until: datetime) -> int:
    parameters = {"experiment": timeline.name, "since": since, "until": until}
    asking = [user for (user,) in database.read(_ASKING, parameters, deadline_ms=DEADLINE_MS)]
    found = [(user, *enrolled) for user in sorted(asking) if (enrolled := timeline.enrol(user))]
    rows = 0
    for first in range(0, len(found), _CHUNK):
        users, arms, enrolled = zip(*found[first : first + _CHUNK], strict=True)
        chunk = {
            **parameters,
            "users": list(users),
            "arms": list(arms),
            "enrolled": list(enrolled),
            "started": timeline.started,
            "past": timeline.started - PAST,
        }
        with database.transaction(deadline_ms=DEADLINE_MS) as cursor:
            cursor.execute(_ENROL, chunk)
            rows += int(cursor.rowcount)
    return rows


def _mark_shown(database: Database, timeline: Timeline, since: datetime, until: datetime) -> None:
    parameters = {"experiment": timeline.name, "since": since, "until": until, "releases": timeline.numbers}
    with database.transaction(deadline_ms=DEADLINE_MS) as cursor:
        cursor.execute(_MARK_SHOWN, parameters)


def _due_hours(
    database: Database, timeline: Timeline, rules: ExposureRules, until: datetime, now: datetime
) -> list[datetime]:
    """Return the hours since the start whose rows may have changed, oldest first."""
    first = timeline.started.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    computed: dict[datetime, datetime] = dict(database.read(_COMPUTED, (timeline.name, first), deadline_ms=DEADLINE_MS))
    hours = [first + n * HOUR for n in range(int((until - first) / HOUR) + 1)] if until > first else []
    return [hour for hour in hours if is_due(hour, computed.get(hour), max(rules.window, SHOWN_WINDOW), now)]


def _compute_hour(
    database: Database, timeline: Timeline, rules: ExposureRules, hour: datetime, until: datetime, now: datetime
) -> int:
    parameters = {
        "experiment": timeline.name,
        "hour": hour,
        "hour_end": hour + HOUR,
        "releases": timeline.numbers,
        "until": until,
        "now": now,
        "gap": SESSION_GAP,
        "window": rules.window,
        "shown_window": SHOWN_WINDOW,
        "timeout_ms": rules.caller_timeout_ms,
    }
    with database.transaction(deadline_ms=DEADLINE_MS) as cursor:
        cursor.execute(_HOUR_ROWS, parameters)
        rows = int(cursor.rowcount)
        write_days(cursor, timeline.name, hour)
        return rows
