"""A realistic day of data that raises no alert at its end, up to now.

Records are written by the ingest code, the monitor's tables directly. Every run writes the same day, except for its
end.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from tests.support.records import account, ask, rate, watch

from marquee.db import retrain_runs
from marquee.db.pool import Database
from marquee.events.batches import Impression, ImpressionBatch, ImpressionMovie, StreamBatch, make_record
from marquee.events.parser import EventParser
from marquee.ingest.store import store_rejected, write_batch, write_impressions
from marquee.monitoring.app_outcome_hours import update_outcome_hours
from marquee.monitoring.experiment_days import write_days

HOURS = 24
RECORDS_PER_HOUR = 120
PARTITIONS = 2
VERSIONS = ("20260213T020000Z-aaaaaaaa", "20260214T020000Z-bbbbbbbb")
ARMS = ("control", "candidate")
TIERS = ("personalised", "folded_in", "cohort", "popular")
TOPIC_ID = "AAAAAAAAQQ2hzSyMdQ0xkw"
_SEED = 20260214


def write_good_day(database: Database, now: datetime | None = None) -> datetime:
    """Write the day that ends ``now``, an aware time, to a migrated, empty database; return that time."""
    now = now or datetime.now(UTC)
    rng = random.Random(_SEED)
    _write_stream(database, now, rng)
    _write_impressions(database, now, rng)
    store_rejected(database, "not a StreamBatch: no field records", {"ce-type": "marquee.events.batches"}, b"{}")
    for run in _retrain_runs(now):
        retrain_runs.record_run(database, run)
    with database.transaction() as cursor:
        for statement in (*_MONITORED, *_EXPERIMENT):
            cursor.execute(statement, {"now": now, "versions": list(VERSIONS), "arms": list(ARMS)})
        cursor.execute("SELECT DISTINCT time FROM experiment_hours")
        for (hour,) in cursor.fetchall():
            write_days(cursor, "candidate", hour)
    update_outcome_hours(database)
    return now


def _write_stream(database: Database, now: datetime, rng: random.Random) -> None:
    parser = EventParser(ZoneInfo("UTC"))
    records = list(_generate_records(now, rng))
    for partition in range(PARTITIONS):
        batch = [
            make_record(offset, int(time.timestamp() * 1000), text.encode())
            for offset, (time, text) in enumerate(records[partition::PARTITIONS])
        ]
        write_batch(database, StreamBatch("movielog", TOPIC_ID, partition, tuple(batch)), parser)


def _generate_records(now: datetime, rng: random.Random) -> Iterator[tuple[datetime, str]]:
    """Yield times and texts of records in order of time; the last one is some seconds old."""
    count = HOURS * RECORDS_PER_HOUR
    for index in range(count):
        time = now - timedelta(hours=HOURS) * (1 - index / count) - timedelta(seconds=5)
        yield time, _generate_record(time, index, rng)


def _generate_record(time: datetime, index: int, rng: random.Random) -> str:
    user, movie = rng.randrange(200), f"film+{rng.randrange(80)}+1999"
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3]
    kind = rng.random()
    if index % 1000 == 999:
        return f"{stamp},{user},GET /rate/{movie}=eleven"
    if kind < 0.7:
        return watch(user, rng.randrange(100), movie, stamp)
    if kind < 0.85:
        return rate(user, rng.choices(range(1, 6), (6, 11, 27, 35, 21))[0], movie, stamp)
    if kind < 0.86:
        return account(user).replace("2026-02-14T00:09:23", stamp)
    status, result = (200, "film+1+1999, film+2+1999") if rng.random() < 0.99 else (503, "no model yet")
    return ask(user, status, result, 20 + rng.randrange(60)).replace("2026-02-14T00:09:22", stamp)


def _write_impressions(database: Database, now: datetime, rng: random.Random) -> None:
    movies = tuple(ImpressionMovie(f"film+{n}+1999", 1 / (n + 1), 4.2 - n / 10, 1.0) for n in range(20))
    rows = tuple(
        Impression(
            f"impression-{number}",
            now - timedelta(seconds=20 + number * 86),
            str(rng.randrange(200)),
            ARMS[number % 2],
            VERSIONS[number % 2],
            12 if number < 700 else 11,
            rng.choices(TIERS, (60, 20, 15, 5))[0],
            movies,
            # Long before the end: a panel shows it, and its alert has ended.
            notes=("age-rule-broken",) if number == 800 else (),
        )
        for number in range(1_000)
    )
    write_impressions(database, ImpressionBatch("day", rows))


def _retrain_runs(now: datetime) -> Iterator[retrain_runs.RetrainRun]:
    runs = (
        (26, VERSIONS[0], "released", "release 11: better than bias_only"),
        (14, None, "failed", "the base data cannot be fetched"),
        (9, "20260214T000000Z-cccccccc", "refused", "rmse 1.041 is worse than what serves by 0.021"),
        (2, VERSIONS[1], "released", "release 12: better than what serves"),
    )
    for hours, version, outcome, reason in runs:
        start = now - timedelta(hours=hours)
        metrics = {"rmse": 1.012, "rmse.low": 0.96, "rmse.high": 1.07, "ndcg@10": 0.34} if version else {}
        yield retrain_runs.RetrainRun(
            f"run-{hours}", start, start + timedelta(seconds=74), start, version, outcome, reason, metrics
        )


_MINUTES = "generate_series(1, 1440) AS ago, LATERAL (SELECT %(now)s - ago * INTERVAL '1 minute') AS moments (moment)"
# An experiment that runs since the beginning of the day, as the monitor's looks every five minutes tell of it.
_EXPERIMENT = (
    """
INSERT INTO experiment_users (experiment, user_id, arm, enrolled, first_asked, shown_arm)
SELECT 'candidate', n::text, (ARRAY['control', 'candidate'])[1 + n %% 2], %(now)s - INTERVAL '1 day',
       %(now)s - INTERVAL '1 day', (ARRAY['control', 'candidate'])[1 + n %% 2] FROM generate_series(1, 60) AS n""",
    """
INSERT INTO experiment_hours
SELECT date_trunc('hour', %(now)s) - h * INTERVAL '1 hour', 'candidate', n::text,
       (ARRAY['control', 'candidate'])[1 + n %% 2], 3, 0, 0, 2, n %% 2, 90, 120, %(now)s
FROM generate_series(1, 23) AS h, generate_series(1, 60) AS n""",
    """
INSERT INTO experiment_looks
SELECT %(now)s - look * INTERVAL '5 minutes', 'candidate', 'candidate', metric, 30, 30, value, value, 0, 0.01, 1e4,
       -0.02, 0.02, 0.05, 0, 0.06, 0.4, 'open'
FROM generate_series(0, 287) AS look, (VALUES ('watched', 0.5), ('rates', 0)) AS metrics (metric, value)""",
    """
INSERT INTO experiment_looks
SELECT %(now)s - look * INTERVAL '5 minutes', 'candidate', 'candidate', metric, 30, 30, value, value * 1.02,
       value * 0.02, 0.01, 1e4, value * 0.01, value * 0.03, NULL, 0, NULL, e, verdict
FROM generate_series(0, 287) AS look,
     (VALUES ('asks', 2.5, 61.0, 'differs'), ('minutes', 31.0, 0.9, 'undecided')) AS m (metric, value, e, verdict)""",
    """
INSERT INTO experiment_decisions
SELECT %(now)s - look * INTERVAL '5 minutes', 'candidate', 12, %(now)s - look * INTERVAL '5 minutes',
       CASE look WHEN 200 THEN 'step' ELSE 'wait' END, CASE WHEN look > 200 THEN 0.02 ELSE 0.2 END, '',
       'watched of candidate allows a share of 0.21, not yet 0.5', '', 0.4, 0.21, 'watched', 1, 1, 0, ''
FROM generate_series(0, 287) AS look""",
)
_MONITORED = (
    # The records were written just now; replace the deliveries by those of a whole day.
    "DELETE FROM deliveries_per_minute",
    "UPDATE rejected_events SET received = %(now)s - INTERVAL '3 hours'",
    f"""
INSERT INTO deliveries_per_minute (time, topic_key, partition, batches, records, redelivered, batch_records_max,
                                   lag_ms_max)
SELECT date_trunc('minute', moment), (SELECT max(topic_key) FROM topics), partition, 240,
       45000 + 9000 * sin(ago / 229.0), CASE WHEN ago %% 360 = 0 THEN 900 ELSE 0 END, 400 + ago %% 60,
       350 + 80 * sin(ago / 7.0) + CASE WHEN ago BETWEEN 600 AND 605 THEN 9000 ELSE 0 END
FROM {_MINUTES}, generate_series(0, 1) AS partition""",
    f"""
INSERT INTO availability (time, server, requests, answered, late, failed, p50_ms, p95_ms, p99_ms)
SELECT date_trunc('minute', moment), '127.0.0.1:8082', 720, 720 - late - failed, late, failed,
       9 + sin(ago / 31.0), 17 + 3 * sin(ago / 17.0), 31 + 8 * sin(ago / 11.0) + 60 * late
FROM (SELECT moment, ago, CASE WHEN ago %% 97 = 0 THEN 3 ELSE 0 END AS late,
             CASE WHEN ago BETWEEN 600 AND 603 THEN 40 ELSE 0 END AS failed FROM {_MINUTES}) AS minutes""",
    """
INSERT INTO predictions (time, topic_key, partition, "offset", user_id, movie_id, rating, arm, model_version, release,
                         tier, source, predicted, low, high, coverage, reason)
SELECT time, topic_key, partition, "offset", user_id, movie_id, rating,
       CASE WHEN known THEN (%(arms)s::text[])[1 + "offset" %% 2] ELSE '' END,
       CASE WHEN known THEN (%(versions)s::text[])[1 + "offset" %% 2] ELSE '' END, CASE WHEN known THEN 12 ELSE 0 END,
       CASE WHEN known THEN (ARRAY['personalised', 'folded_in', 'cohort'])[1 + "offset" %% 3] ELSE '' END,
       CASE WHEN NOT known THEN '' WHEN "offset" %% 5 < 3 THEN 'impression' ELSE 'computed' END,
       CASE WHEN known THEN 3.55 + (rating - 3.55) * 0.35 + 0.5 * sin("offset") END,
       CASE WHEN known THEN 2.3 END, CASE WHEN known THEN 4.8 END, CASE WHEN known THEN 0.8 END,
       CASE WHEN known THEN '' ELSE 'unknown movie' END
FROM (SELECT *, "offset" %% 23 <> 0 AS known FROM ratings) AS rated""",
    f"""
INSERT INTO live_accuracy (time, window_s, arm, model_version, ratings, users, rmse, rmse_low, rmse_high, mae, mae_low,
                           mae_high, nominal_coverage, observed_coverage)
SELECT date_trunc('minute', moment), window_s, arm, version, window_s / 12, 1 + window_s / 40, rmse, rmse - 0.06,
       rmse + 0.06, rmse * 0.8, rmse * 0.8 - 0.05, rmse * 0.8 + 0.05, 0.8, 0.79 + 0.02 * sin(ago / 41.0)
FROM {_MINUTES}, (VALUES (300, 1), (3600, 5), (86400, 60)) AS windows (window_s, every),
     (VALUES ('', ''), ('', (%(versions)s::text[])[1]), ('', (%(versions)s::text[])[2]),
             ((%(arms)s::text[])[1], (%(versions)s::text[])[1]), ((%(arms)s::text[])[2], (%(versions)s::text[])[2]),
             ((%(arms)s::text[])[1], ''), ((%(arms)s::text[])[2], '')) AS sides (arm, version),
     LATERAL (SELECT 0.96 + 0.03 * sin(ago / 97.0) - CASE WHEN version = (%(versions)s::text[])[2] THEN 0.03 ELSE 0 END)
         AS errors (rmse)
WHERE ago %% every = 0""",
    """
INSERT INTO impression_outcomes (time, arm, model_version, tier, position, shown, watched, minutes, rated, rating_sum)
SELECT date_trunc('hour', %(now)s - hours * INTERVAL '1 hour'), (%(arms)s::text[])[side],
       (%(versions)s::text[])[side], tier, position, 400, 28 / sqrt(position) + 2 * side, 900 / position,
       6 / position + 1, 4 * (6 / position + 1)
FROM generate_series(1, 23) AS hours, generate_series(1, 2) AS side, unnest(ARRAY['personalised', 'cohort']) AS tier,
     generate_series(1, 20) AS position""",
    f"""
INSERT INTO quality_checks (time, name, value, usual_low, usual_high, unit, verdict, detail)
SELECT date_trunc('minute', moment), name, value * (1 + 0.2 * sin(ago / 53.0)), low, high, unit, 'good', 'generated'
FROM {_MINUTES}, (VALUES
    ('volume.watch', 31000, 22000, 40000, 'records'), ('volume.rating', 600, 300, 900, 'records'),
    ('quarantine.rate', 0.0008, 0, 0.002, 'fraction'), ('delivery.redelivered_rate', 0.0001, 0, 0.01, 'fraction'),
    ('delivery.lag_s', 0.6, 0, 5, 's'), ('schema.id_rate', 0, 0, 0, 'fraction'),
    ('range.rating_rate', 0, 0, 0, 'fraction'), ('range.time_rate', 0.0001, 0, 0, 'fraction'),
    ('movies.unknown_rate', 0.03, 0, 0.1, 'fraction'),
    ('drift.rating_psi', 0.03, 0, 0.1, 'PSI'), ('drift.movie_psi', 0.06, 0, 0.1, 'PSI'),
    ('drift.activity_psi', 0.05, 0, 0.1, 'PSI'), ('drift.rating_wasserstein', 0.02, 0, 0.05, 'fraction of the scale'),
    ('model.age_h', 9, 0, 36, 'h')) AS checks (name, value, low, high, unit)
WHERE ago %% 5 = 0""",
    """
INSERT INTO live_fairness (time, release, arm, model_version, metric, kind, group_name, sample, users, value, low, high)
SELECT date_trunc('hour', %(now)s - hours * INTERVAL '1 hour'), CASE WHEN hours < 17 THEN 12 ELSE 11 END,
       (%(arms)s::text[])[side],
       (%(versions)s::text[])[side], metric, kind, group_name, 4000, 300, value, value - 0.02, value + 0.02
FROM generate_series(0, 23) AS hours, generate_series(1, 2) AS side, (VALUES
    ('rmse', '', '', 0.96), ('rmse', 'activity', '1-50 ratings', 1.01), ('rmse', 'activity', '51-150 ratings', 0.93),
    ('rmse_gap', 'activity', '', 0.08), ('unknown_share', 'activity', '', 0), ('exposure_gini', '', '', 0.91),
    ('exposure_top', '', '', 0.21), ('ndcg_gap', 'activity', '', 0.1),
    ('exposure_share', 'popularity', 'head', 0.5), ('exposure_share', 'popularity', 'middle', 0.4),
    ('exposure_share', 'popularity', 'tail', 0.1)) AS metrics (metric, kind, group_name, value)""",
    """
INSERT INTO impressions (time, id, user_id, arm, model_version, release, tier, movies, notes)
VALUES (%(now)s - INTERVAL '5 hours', 'age-rule', '1', 'control', (%(versions)s::text[])[1], 12, 'popular', '[]',
        '{age-rule-broken}')""",
    """
INSERT INTO retrain_requests (time, check_name, model_version, reason, claimed, run)
VALUES (%(now)s - INTERVAL '9 hours', 'drift.movie_psi', (%(versions)s::text[])[1], 'PSI of movies 0.27',
        %(now)s - INTERVAL '9 hours' + INTERVAL '40 seconds', 'run-9')""",
    f"""
INSERT INTO monitor_runs (time, task, rows, seconds)
SELECT moment, task, 12, 0.4 FROM {_MINUTES}, unnest(ARRAY['accuracy', 'availability', 'quality']) AS task
WHERE ago %% 5 = 0""",
    # The app: every second movie of a list is seen, every sixth of these is opened, every third of these is played.
    """
INSERT INTO app_outcomes (recommendation_id, movie_id, user_id, position, seen, opened, played, finished, at, arm,
                          model_version, list_position, propensity)
SELECT id, movie_id, user_id, position, true, draw %% 6 = 0, draw %% 18 = 0, draw %% 36 = 0, time, arm, model_version,
       position, propensity
FROM (SELECT *, abs(hashtext(id || movie_id)) / 2 AS draw FROM impression_movies
      WHERE abs(hashtext(id || movie_id)) %% 2 = 0) AS seen""",
    """
INSERT INTO app_days (time, events, lost, users, sessions, failed_sessions)
SELECT date_trunc('day', %(now)s AT TIME ZONE 'UTC') AT TIME ZONE 'UTC' - day * INTERVAL '1 day', 9000 - 40 * day, 0,
       320 - day, 540 - 2 * day, 1
FROM generate_series(0, 6) AS day""",
    """
INSERT INTO app_funnel (time, step, name, users)
SELECT time, step, (ARRAY['movies_seen', 'movie_opened', 'play_started', 'play_finished'])[step], users / step
FROM app_days, generate_series(1, 4) AS step""",
    """
INSERT INTO app_screens (time, screen, views, users, p50_s, p95_s)
SELECT time, screen, 1000, 200, 8, 60
FROM app_days, unnest(ARRAY['home', 'movie', 'watch', 'search', 'you']) AS screen""",
    """
INSERT INTO app_retention (time, weeks, users, computed)
SELECT date_trunc('week', %(now)s AT TIME ZONE 'UTC') AT TIME ZONE 'UTC' - week * INTERVAL '7 days', weeks,
       (100 * power(0.7, weeks))::integer, %(now)s
FROM generate_series(0, 4) AS week, generate_series(0, 4) AS weeks WHERE weeks <= week""",
)
