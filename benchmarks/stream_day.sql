-- A day of the stream, as `ingest` and the monitor write it. The parameters are set by benchmarks/stream_day.py:
-- count: watches; start, span_s: their time range; base: the first number; watchers: users who watch at the same time.

CREATE FUNCTION bench_user(n bigint, watchers bigint) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
    'SELECT (n / (watchers * 60) * watchers + n % watchers) % 1000000';
CREATE FUNCTION bench_movie(n bigint) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
    'SELECT ''the+film+number+'' || n % 27000 || ''+1999''';

CREATE PROCEDURE write_stream(count bigint, start timestamptz, span_s float8, base bigint, watchers bigint)
LANGUAGE plpgsql AS $$
DECLARE
    step interval := span_s / count * INTERVAL '1 second';
    step_100 interval := span_s / count * INTERVAL '100 seconds';
BEGIN
    INSERT INTO watches
    SELECT start + n * step, 1, (base + n) % 4, (base + n) / 4, u::text, bench_movie(u * 7919), n / watchers % 60
    FROM generate_series(0, count - 1) AS n, LATERAL (SELECT bench_user(n, watchers) AS u) AS users;
    INSERT INTO watch_sessions AS old
    SELECT user_id, movie_id, min(time), max(time), min(minute), max(minute) FROM watches
    WHERE time >= start GROUP BY 1, 2
    ON CONFLICT (user_id, movie_id) DO UPDATE SET started = least(old.started, excluded.started),
        ended = greatest(old.ended, excluded.ended), last_minute = greatest(old.last_minute, excluded.last_minute);
    INSERT INTO ratings
    SELECT start + n * step_100, 1, 4, base / 100 + n, (n * 7919 % 1000000)::text, bench_movie(n * 31), 1 + n % 5
    FROM generate_series(0, count / 100 - 1) AS n;
    INSERT INTO recommendation_requests
    SELECT start + n * step_100, 1, 5, base / 100 + n, (n * 104729 % 1000000)::text, '127.0.0.1:8082',
           CASE WHEN n % 500 = 0 THEN 503 ELSE 200 END, '{}', '', 20 + n % 60
    FROM generate_series(0, count / 100 - 1) AS n;
    INSERT INTO quarantine
    SELECT start + n * 10 * step_100, 1, 6, base / 1000 + n, 'unknown', 'no such request', 'GZET /nothing'
    FROM generate_series(0, count / 1000 - 1) AS n;
    INSERT INTO impressions
    SELECT start + n * step_100, 'i' || base / 100 + n, u::text, CASE WHEN n % 10 = 0 THEN 'canary' ELSE 'control' END,
           'v' || n % 10 / 9, 1, CASE WHEN n % 3 = 0 THEN 'cohort' ELSE 'personalised' END,
           (SELECT jsonb_agg(jsonb_build_object('movie_id', bench_movie(u * 7919 + 9 - k), 'score', 1.0 / (k + 1),
                                                'rating', 4.2, 'propensity', 0.99))
            FROM generate_series(0, 19) AS k)
    FROM generate_series(0, count / 100 - 1) AS n, LATERAL (SELECT n * 104729 % 1000000 AS u) AS users;
    INSERT INTO predictions
    SELECT time, topic_key, partition, "offset", user_id, movie_id, rating, 'control', 'v0', 1, 'personalised',
           'computed', NULL, 3.5, 2, 5, 0.8, '' FROM ratings WHERE time >= start;
    INSERT INTO written_offsets (topic_key, partition, next_offset, watches, ratings, recommendation_requests,
                                 accounts, quarantine, updated, written)
    SELECT 1, partition, (base + count) / 4 + 1, 0, 0, 0, 0, 0, now(),
           int8multirange(int8range(0, (base + count) / 4 + 1))
    FROM generate_series(0, 6) AS partition
    ON CONFLICT (topic_key, partition) DO UPDATE SET written = excluded.written, next_offset = excluded.next_offset;
END
$$;

-- Write a rating and a watch session of the half year before the day for its users, but for a fiftieth, who are new.
CREATE PROCEDURE write_history(count bigint, now timestamptz) LANGUAGE plpgsql AS $$
BEGIN
    CREATE TEMPORARY TABLE established AS
    SELECT u, now - INTERVAL '10 days' - u % 160 * INTERVAL '1 day' AS time
    FROM (SELECT generate_series(0, greatest(count / 60, 100000)) UNION
          SELECT n * 7919 % 1000000 FROM generate_series(0, greatest(count, 1000000) / 100) AS n) AS users (u)
    WHERE u < 1000000 AND u % 50 <> 7;
    INSERT INTO ratings
    SELECT time, 3, 4, row_number() OVER (ORDER BY time), u::text, bench_movie(u * 17), 1 + u % 5 FROM established;
    INSERT INTO watch_sessions
    SELECT u::text, bench_movie(u * 17), time, time + INTERVAL '1 hour', 0, 59 FROM established;
    DROP TABLE established;
END
$$;

-- Write the rows that the monitor and `ingest` have written for each minute of the day that ends at `now`.
CREATE PROCEDURE write_monitored(now timestamptz) LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO deliveries_per_minute
    SELECT now - m * INTERVAL '1 minute', 1, partition, 60, 23700, 0, 400, 350
    FROM generate_series(1, 1440) AS m, generate_series(0, 3) AS partition;
    INSERT INTO quality_checks
    SELECT now - m * INTERVAL '5 minutes', name, 0.05, 0, 0.1, '', 'good', ''
    FROM generate_series(0, 14 * 288) AS m,
         unnest(ARRAY['volume.watch', 'volume.rating', 'volume.recommendation_request', 'volume.account',
                      'quarantine.rate', 'delivery.lag_s', 'schema.id_rate', 'range.rating_rate', 'drift.movie_psi',
                      'drift.rating_psi', 'drift.activity_psi', 'model.age_h']) AS name;
    INSERT INTO monitor_runs
    SELECT now - m * INTERVAL '5 minutes', task, 1, 0.1, ''
    FROM generate_series(1, 288) AS m, unnest(ARRAY['rollups', 'availability', 'quality_checks']) AS task;
END
$$;

-- Write the day of an experiment, of the app and of live fairness: `count` lists and users, seen over the day before `now`.
CREATE PROCEDURE write_uses(count bigint, now timestamptz) LANGUAGE plpgsql AS $$
DECLARE
    pause interval := INTERVAL '1 day' / count;
BEGIN
    INSERT INTO experiment_users (experiment, user_id, arm, enrolled, first_asked, shown_arm)
    SELECT 'candidate', n::text, CASE WHEN n % 10 = 0 THEN 'canary' ELSE 'control' END, now - INTERVAL '1 day',
           now - n * pause, 'control'
    FROM generate_series(0, count - 1) AS n;
    INSERT INTO experiment_hours
    SELECT date_trunc('hour', now) - h * INTERVAL '1 hour', 'candidate', (n * 24 + h)::text, CASE WHEN n % 10 = 0 THEN
           'canary' ELSE 'control' END, 3, 0, 0, 2, n % 2, 90, 120, now
    FROM generate_series(0, count / 24) AS n, generate_series(0, 23) AS h;
    INSERT INTO experiment_pairs
    SELECT now - n * pause, 'candidate', 'canary', CASE WHEN n % 2 = 0 THEN 'rating' ELSE 'view' END, n::text,
           bench_movie(n), 1, 1
    FROM generate_series(0, count - 1) AS n;
    INSERT INTO experiment_looks
    SELECT now - look * INTERVAL '5 minutes', 'candidate', 'canary', metric, 30, 30, 0.5, 0.5, 0, 0.01, 1e4, -0.02, 0.02,
           0.05, 0, 0.06, 0.4, 'open'
    FROM generate_series(0, 14 * 288) AS look, unnest(ARRAY['watched', 'rates', 'minutes', 'views']) AS metric;
    INSERT INTO experiment_decisions
    SELECT now - look * INTERVAL '5 minutes', 'candidate', 1, now - look * INTERVAL '5 minutes', 'wait', 0.1, '', '', '',
           0.4, 0.21, 'watched', 1, 1, 0, ''
    FROM generate_series(0, 14 * 288) AS look;
    INSERT INTO impressions_shown
    SELECT now - n * pause, 2, n % 8, n / 8, n::text, 'i' || n, ARRAY[bench_movie(n), bench_movie(n + 1)]
    FROM generate_series(0, count - 1) AS n;
    INSERT INTO clicks
    SELECT now - n * pause, 2, n % 8, n / 8, n::text, 'i' || n, bench_movie(n) FROM generate_series(0, count - 1) AS n;
    INSERT INTO event_ids SELECT 2, md5(n::text)::uuid, now - n * pause FROM generate_series(0, count - 1) AS n;
    INSERT INTO dropped_records SELECT now - n * pause * 100, 1, 6, n FROM generate_series(0, count / 100) AS n;
    INSERT INTO app_outcomes
    SELECT id, movie_id, user_id, position, true, position % 6 = 0, position % 18 = 0, false, time, arm, model_version,
           position, propensity
    FROM impression_movies WHERE id IN (SELECT 'i' || n FROM generate_series(0, count / 10) AS n);
    INSERT INTO app_days SELECT date_trunc('day', now) - d * INTERVAL '1 day', 900000, 0, 32000, 54000, 1
    FROM generate_series(0, 399) AS d;
    INSERT INTO app_funnel SELECT time, step, 'step ' || step, 1000 FROM app_days, generate_series(1, 4) AS step;
    INSERT INTO app_screens SELECT time, screen, 1000, 200, 8, 60 FROM app_days, unnest(ARRAY['home', 'movie', 'you']) AS screen;
    INSERT INTO app_retention SELECT date_trunc('week', now) - w * INTERVAL '7 days', weeks, 100, now
    FROM generate_series(0, 52) AS w, generate_series(0, 52) AS weeks WHERE weeks <= w;
    INSERT INTO live_fairness
    SELECT date_trunc('hour', now) - h * INTERVAL '1 hour', 1, arm, 'v0', metric, kind, group_name, 4000, 300, 0.9, 0.8, 1.0
    FROM generate_series(0, 14 * 24) AS h, unnest(ARRAY['control', 'canary']) AS arm, (VALUES
        ('rmse', '', ''), ('rmse', 'activity', '1-50 ratings'), ('rmse', 'activity', '51-150 ratings'),
        ('rmse_gap', 'activity', ''), ('exposure_gini', '', ''), ('exposure_top', '', ''),
        ('exposure_share', 'popularity', 'head')) AS metrics (metric, kind, group_name);
    INSERT INTO suspect_accounts
    SELECT n::text, bench_movie(n % 10), 'high', now - n * pause, -20 FROM generate_series(0, count / 1000) AS n;
END
$$;
