-- Hypertables with columnstore and retention, and continuous aggregates that include the newest rows.
-- Requires the community edition of TimescaleDB 2.18 or later (columnstore policies).

-- The real stream writes 136 million watches a day. Chunks of 6 hours keep the index of the newest chunk in memory.
SELECT create_hypertable('watches', by_range('time', INTERVAL '6 hours'), create_default_indexes => false);
SELECT create_hypertable('ratings', by_range('time', INTERVAL '30 days'), create_default_indexes => false);
SELECT create_hypertable('recommendation_requests', by_range('time', INTERVAL '7 days'), create_default_indexes => false);
SELECT create_hypertable('quarantine', by_range('time', INTERVAL '30 days'), create_default_indexes => false);
SELECT create_hypertable('impressions', by_range('time', INTERVAL '7 days'), create_default_indexes => false);
SELECT create_hypertable('predictions', by_range('time', INTERVAL '7 days'), create_default_indexes => false);
SELECT create_hypertable('live_accuracy', by_range('time', INTERVAL '30 days'), create_default_indexes => false);
SELECT create_hypertable('impression_outcomes', by_range('time', INTERVAL '30 days'), create_default_indexes => false);
SELECT create_hypertable('availability', by_range('time', INTERVAL '30 days'), create_default_indexes => false);
SELECT create_hypertable('quality_checks', by_range('time', INTERVAL '30 days'), create_default_indexes => false);

-- Rows are written almost in the order of time. A block-range index costs a bulk insert almost nothing, and limits panels,
-- checks and refreshes to the blocks of their time range.
CREATE INDEX watches_by_time ON watches USING brin (time) WITH (pages_per_range = 32, autosummarize = on);
-- The view of records per minute counts accounts directly.
CREATE INDEX accounts_by_minute ON accounts
    (date_bin(INTERVAL '1 minute', time, TIMESTAMPTZ '2000-01-03 00:00:00+00'));

-- Ordered by identity, so that a redelivered record is found in one segment.
ALTER TABLE watches SET (timescaledb.enable_columnstore,
    timescaledb.segmentby = 'topic_key, partition', timescaledb.orderby = '"offset"');
ALTER TABLE recommendation_requests SET (timescaledb.enable_columnstore,
    timescaledb.segmentby = 'topic_key, partition', timescaledb.orderby = '"offset"');
ALTER TABLE impressions SET (timescaledb.enable_columnstore,
    timescaledb.segmentby = '', timescaledb.orderby = 'id, time');
ALTER TABLE predictions SET (timescaledb.enable_columnstore,
    timescaledb.segmentby = 'topic_key, partition', timescaledb.orderby = '"offset"');
CALL add_columnstore_policy('watches', after => INTERVAL '12 hours');
CALL add_columnstore_policy('recommendation_requests', after => INTERVAL '14 days');
CALL add_columnstore_policy('impressions', after => INTERVAL '14 days');
CALL add_columnstore_policy('predictions', after => INTERVAL '14 days');

-- The long-term content of expired rows is in `watch_sessions`, in `ratings` and in the aggregates below.
SELECT add_retention_policy('watches', drop_after => INTERVAL '7 days');
SELECT add_retention_policy('recommendation_requests', drop_after => INTERVAL '90 days');
SELECT add_retention_policy('quarantine', drop_after => INTERVAL '180 days');
SELECT add_retention_policy('impressions', drop_after => INTERVAL '180 days');
SELECT add_retention_policy('predictions', drop_after => INTERVAL '180 days');
SELECT add_retention_policy('live_accuracy', drop_after => INTERVAL '400 days');
SELECT add_retention_policy('impression_outcomes', drop_after => INTERVAL '400 days');
SELECT add_retention_policy('availability', drop_after => INTERVAL '400 days');
SELECT add_retention_policy('quality_checks', drop_after => INTERVAL '400 days');

CREATE MATERIALIZED VIEW watches_per_minute
WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
SELECT time_bucket(INTERVAL '1 minute', time) AS time, count(*) AS records
FROM watches GROUP BY 1 WITH NO DATA;

CREATE MATERIALIZED VIEW ratings_per_minute
WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
SELECT time_bucket(INTERVAL '1 minute', time) AS time, count(*) AS ratings,
       sum(rating) AS rating_sum, sum(rating * rating) AS rating_square_sum
FROM ratings GROUP BY 1 WITH NO DATA;

CREATE MATERIALIZED VIEW recommendation_requests_per_minute
WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
SELECT time_bucket(INTERVAL '1 minute', time) AS time, status, count(*) AS requests,
       sum(response_ms) AS response_ms_sum, max(response_ms) AS response_ms_max
FROM recommendation_requests GROUP BY 1, 2 WITH NO DATA;

CREATE MATERIALIZED VIEW quarantine_per_minute
WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
SELECT time_bucket(INTERVAL '1 minute', time) AS time, category, count(*) AS records
FROM quarantine GROUP BY 1, 2 WITH NO DATA;

CREATE MATERIALIZED VIEW impressions_per_minute
WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
SELECT time_bucket(INTERVAL '1 minute', time) AS time, arm, model_version, tier, count(*) AS impressions
FROM impressions GROUP BY 1, 2, 3, 4 WITH NO DATA;

CREATE MATERIALIZED VIEW movie_watches_per_hour
WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
SELECT time_bucket(INTERVAL '1 hour', time) AS time, movie_id, count(*) AS records
FROM watches GROUP BY 1, 2 WITH NO DATA;

CREATE MATERIALIZED VIEW movie_ratings_per_day
WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
SELECT time_bucket(INTERVAL '1 day', time) AS time, movie_id, count(*) AS ratings, sum(rating) AS rating_sum
FROM ratings GROUP BY 1, 2 WITH NO DATA;

-- Each window is long enough for late records, and shorter than the retention of the table: a refresh over deleted
-- rows would lose their counts.
SELECT add_continuous_aggregate_policy('watches_per_minute',
    start_offset => INTERVAL '3 days', end_offset => INTERVAL '5 minutes', schedule_interval => INTERVAL '5 minutes');
SELECT add_continuous_aggregate_policy('ratings_per_minute',
    start_offset => INTERVAL '7 days', end_offset => INTERVAL '5 minutes', schedule_interval => INTERVAL '5 minutes');
SELECT add_continuous_aggregate_policy('recommendation_requests_per_minute',
    start_offset => INTERVAL '7 days', end_offset => INTERVAL '5 minutes', schedule_interval => INTERVAL '5 minutes');
SELECT add_continuous_aggregate_policy('quarantine_per_minute',
    start_offset => INTERVAL '7 days', end_offset => INTERVAL '5 minutes', schedule_interval => INTERVAL '5 minutes');
SELECT add_continuous_aggregate_policy('impressions_per_minute',
    start_offset => INTERVAL '7 days', end_offset => INTERVAL '5 minutes', schedule_interval => INTERVAL '5 minutes');
SELECT add_continuous_aggregate_policy('movie_watches_per_hour',
    start_offset => INTERVAL '3 days', end_offset => INTERVAL '1 hour', schedule_interval => INTERVAL '30 minutes');
SELECT add_continuous_aggregate_policy('movie_ratings_per_day',
    start_offset => INTERVAL '30 days', end_offset => INTERVAL '1 day', schedule_interval => INTERVAL '6 hours');

-- Records of every kind per minute. A quarantined record counts in the minute of its Kafka timestamp.
CREATE VIEW records_per_minute AS
SELECT time, 'watch' AS kind, records FROM watches_per_minute
UNION ALL
SELECT time, 'rating', ratings FROM ratings_per_minute
UNION ALL
SELECT time, 'recommendation_request', requests::bigint
FROM (SELECT time, sum(requests) AS requests FROM recommendation_requests_per_minute GROUP BY time) AS requests
UNION ALL
SELECT date_bin(INTERVAL '1 minute', time, TIMESTAMPTZ '2000-01-03 00:00:00+00'), 'account', count(*)
FROM accounts GROUP BY 1
UNION ALL
SELECT time, 'quarantine', records::bigint
FROM (SELECT time, sum(records) AS records FROM quarantine_per_minute GROUP BY time) AS quarantined;

-- Background workers refresh the continuous aggregates: there is nothing to roll up.
CREATE FUNCTION roll_up_records(most bigint) RETURNS bigint LANGUAGE sql IMMUTABLE AS 'SELECT 0::bigint';
