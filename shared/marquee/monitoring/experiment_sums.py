"""Sums of an experiment for one look: one ``GROUP BY`` over users for each metric, so no rows leave the database."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from marquee.db.pool import Database
from marquee.experiments.look import Look
from marquee.monitoring.experiment_timeline import Timeline
from marquee.monitoring.exposures import PAST, SESSION_GAP

DEADLINE_MS = 60_000
RECENT = timedelta(minutes=30)
IDLE = timedelta(hours=1)
"""A partition this far behind the newest one has no records, or is lost to the analysis; it does not stop it."""
BASELINE = timedelta(hours=24)
"""Time before the start from which the baseline of `watched` is taken."""
MIN_BASELINE = 50

# The newest record of each partition. Records are in the order of time but for a few seconds.
_AS_OF = """
WITH newest AS (
    SELECT greatest(
        (SELECT time FROM watches AS w WHERE w.topic_key = o.topic_key AND w.partition = o.partition
         ORDER BY "offset" DESC LIMIT 1),
        (SELECT time FROM ratings AS r WHERE r.topic_key = o.topic_key AND r.partition = o.partition
         ORDER BY "offset" DESC LIMIT 1),
        (SELECT time FROM recommendation_requests AS q WHERE q.topic_key = o.topic_key AND q.partition = o.partition
         ORDER BY "offset" DESC LIMIT 1)) AS time
    FROM written_offsets AS o
)
SELECT min(time) FROM newest WHERE time >= (SELECT max(time) FROM newest) - %(idle)s"""

# x of the metrics per user-day: days since the first request. A user counts with at most four times the median of
# lists, and movies begun are scaled alike: fake accounts that ask for thousands of lists must not decide `watched`.
# Without a click there is no `clicked`: no app reports them.
_RATIOS = """
WITH sums AS (
    SELECT arm, user_id, sum(failed + late)::float8 AS bad, sum(asks)::float8 AS asks, sum(late)::float8 AS late,
           sum(lists)::float8 AS lists, sum(watched)::float8 AS watched, sum(clicked)::float8 AS clicked,
           sum(minutes)::float8 AS minutes, sum(all_minutes)::float8 AS all_minutes
    FROM experiment_hours WHERE experiment = %(experiment)s GROUP BY arm, user_id
), users AS (
    SELECT sums.*, e.pre_minutes AS c1, e.pre_asks AS c2,
           greatest(extract(epoch FROM %(as_of)s - e.first_asked)::float8 / 86400, 0) AS days
    FROM sums JOIN experiment_users AS e USING (user_id) WHERE e.experiment = %(experiment)s
), usual AS (
    SELECT greatest(4 * percentile_cont(0.5) WITHIN GROUP (ORDER BY lists), 20) AS lists, sum(clicked) > 0 AS clicks
    FROM users WHERE lists > 0
)
SELECT metric, arm, count(*) FILTER (WHERE x > 0), sum(y), sum(x), sum(y * y), sum(x * y), sum(x * x),
       sum(c1), sum(c2), sum(c1 * c1), sum(c1 * c2), sum(c2 * c2), sum(y * c1), sum(y * c2), sum(x * c1), sum(x * c2)
FROM (SELECT users.*, CASE WHEN users.lists > usual.lists THEN usual.lists / users.lists ELSE 1 END AS share, clicks
      FROM users CROSS JOIN usual) AS users CROSS JOIN LATERAL (VALUES
    ('answered', bad, asks), ('late', late, asks), ('watched', watched * share, lists * share),
    ('clicked', clicked * share, CASE WHEN clicks THEN lists * share END),
    ('minutes', minutes, days), ('all_minutes', all_minutes, days), ('asks', asks, days)) AS m (metric, y, x)
WHERE x > 0 GROUP BY metric, arm"""

# y of ratings is the loss that the new model adds, y of viewings the hits that it loses.
_PAIRS = """
WITH users AS (
    SELECT arm, kind, user_id, count(*)::float8 AS x,
           CASE kind WHEN 'rating' THEN sum(new - old) ELSE sum(old - new) END AS y
    FROM experiment_pairs WHERE experiment = %(experiment)s AND old IS NOT NULL GROUP BY arm, kind, user_id
)
SELECT CASE kind WHEN 'rating' THEN 'rates' ELSE 'ranks' END, arm,
       count(*), sum(y), sum(x), sum(y * y), sum(x * y), sum(x * x)
FROM users GROUP BY arm, kind"""

# One sample of all users of an interleaving, whichever arm is theirs; the new arm is the one that is compared.
_PREFERRED = """
WITH users AS (
    SELECT sum(drafted)::float8 AS lists, sum(begun_new - begun_old)::float8 AS begun
    FROM experiment_hours WHERE experiment = %(experiment)s GROUP BY user_id HAVING sum(drafted) > 0
), usual AS (
    SELECT greatest(4 * percentile_cont(0.5) WITHIN GROUP (ORDER BY lists), 20) AS most FROM users
), capped AS (
    SELECT begun * least(most / lists, 1) AS y, lists * least(most / lists, 1) AS x FROM users CROSS JOIN usual
)
SELECT 'preferred', %(treatment)s, count(*), sum(y), sum(x), sum(y * y), sum(x * y), sum(x * x)
FROM capped HAVING count(*) > 0"""

_COUNTS = """
WITH failed AS (
    SELECT arm, count(DISTINCT user_id) AS users FROM experiment_hours
    WHERE experiment = %(experiment)s AND failed + late > 0 GROUP BY arm
)
SELECT arm, count(*), coalesce(max(failed.users), 0), count(*) FILTER (WHERE crossed)
FROM experiment_users LEFT JOIN failed USING (arm) WHERE experiment = %(experiment)s GROUP BY arm"""

_IMPRESSED = """
SELECT shown_arm, count(*) FROM experiment_users
WHERE experiment = %(experiment)s AND shown_arm IS NOT NULL GROUP BY shown_arm"""

_RECENT = """
SELECT e.arm, max(r.time), count(DISTINCT r.user_id) FILTER (WHERE r.time >= %(as_of)s - %(recent)s)
FROM recommendation_requests AS r JOIN experiment_users AS e USING (user_id)
WHERE e.experiment = %(experiment)s AND r.time >= greatest(e.enrolled, %(as_of)s - INTERVAL '1 day')
  AND r.time <= %(as_of)s GROUP BY e.arm"""

_BASELINES = "SELECT metric, value FROM experiment_baselines WHERE experiment = %s"

_RATES_BASELINE = """
SELECT count(*), avg((predicted - rating * rating_step()) ^ 2) FROM predictions
WHERE time >= %(past)s AND time < %(started)s AND predicted IS NOT NULL"""

_RATES_SO_FAR = """
SELECT count(*), avg(old) FROM experiment_pairs
WHERE experiment = %(experiment)s AND kind = 'rating' AND old IS NOT NULL"""

_WATCHED_BASELINE = """
WITH lists AS (
    SELECT user_id, time, movie_ids FROM (
        SELECT user_id, time, movie_ids, time - lag(time) OVER (PARTITION BY user_id ORDER BY time) AS pause
        FROM recommendation_requests
        WHERE time >= %(since)s AND time < %(started)s - %(window)s AND status = 200
          AND response_ms <= %(timeout_ms)s) AS answered
    WHERE pause IS NULL OR pause > %(gap)s
)
SELECT count(*), avg(w.watched)::float8 FROM lists AS l CROSS JOIN LATERAL (
    SELECT count(*) AS watched FROM watch_sessions AS s
    WHERE s.user_id = l.user_id AND s.movie_id = ANY (l.movie_ids)
      AND s.started >= l.time AND s.started < l.time + %(window)s) AS w"""

_STORE_BASELINE = """
INSERT INTO experiment_baselines (experiment, metric, value, computed) VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING"""


def read_as_of(database: Database, now: datetime) -> datetime | None:
    """Return the event time through which every partition is stored, at most ``now``; None before the first record."""
    ((as_of,),) = database.read(_AS_OF, {"idle": IDLE}, deadline_ms=DEADLINE_MS)
    return as_of if as_of is None else min(as_of, now)


def read_look(
    database: Database, timeline: Timeline, as_of: datetime | None, rating_range: float, baselines: dict[str, float]
) -> Look:
    """Return the sums of the experiment as they are stored."""
    parameters = {
        "experiment": timeline.name,
        "as_of": as_of,
        "recent": RECENT,
        "treatment": timeline.treatments[0].name,
    }
    counts = database.read(_COUNTS, parameters, deadline_ms=DEADLINE_MS)
    seen = database.read(_RECENT, parameters, deadline_ms=DEADLINE_MS) if as_of else []
    return Look(
        experiment=timeline.name,
        release=timeline.release.number,
        as_of=as_of,
        newest={arm: newest for arm, newest, _ in seen},
        recent={arm: users for arm, _, users in seen},
        sums=_read_sums(database, parameters),
        baselines=baselines,
        failed={arm: failed for arm, _, failed, _ in counts},
        users={arm: users for arm, users, _, _ in counts},
        impressed=dict(database.read(_IMPRESSED, parameters, deadline_ms=DEADLINE_MS)),
        crossed=sum(crossed for *_, crossed in counts),
        rating_range=rating_range,
    )


def read_baselines(
    database: Database, timeline: Timeline, window: timedelta, caller_timeout_ms: int, now: datetime, *, store: bool
) -> dict[str, float]:
    """Return control's values before the start; compute them at the first call, and ``store`` them.

    Without enough ratings before the start, `rates` takes control's loss since then: a new site has no past.
    """
    found: dict[str, float] = dict(database.read(_BASELINES, (timeline.name,), deadline_ms=DEADLINE_MS))
    parameters = {
        "experiment": timeline.name,
        "started": timeline.started,
        "past": timeline.started - PAST,
        "since": timeline.started - BASELINE,
        "window": window,
        "gap": SESSION_GAP,
        "timeout_ms": caller_timeout_ms,
    }
    if not found:
        for metric, query in (("rates", _RATES_BASELINE), ("watched", _WATCHED_BASELINE)):
            ((count, value),) = database.read(query, parameters, deadline_ms=DEADLINE_MS)
            found[metric] = float(value) if count >= MIN_BASELINE else 0.0  # 0: there is none.
        if store:
            with database.transaction(deadline_ms=DEADLINE_MS) as cursor:
                for metric, value in found.items():
                    cursor.execute(_STORE_BASELINE, (timeline.name, metric, value, now))
    if not found.get("rates"):
        ((count, value),) = database.read(_RATES_SO_FAR, parameters, deadline_ms=DEADLINE_MS)
        found["rates"] = float(value) if count >= MIN_BASELINE else 0.0
    if "watched" in found:  # `preferred` is a difference of movies begun per list.
        found["preferred"] = found["watched"]
    return {metric: value for metric, value in found.items() if value > 0}


def _read_sums(database: Database, parameters: Mapping[str, object]) -> dict[str, dict[str, tuple[float, ...]]]:
    sums: dict[str, dict[str, tuple[float, ...]]] = {}
    for query in (_RATIOS, _PAIRS, _PREFERRED):
        for metric, arm, *values in database.read(query, parameters, deadline_ms=DEADLINE_MS):
            sums.setdefault(metric, {})[arm] = tuple(map(float, values))
    return sums
