-- Hypertables, their columnstore and retention, and continuous aggregates that count the newest rows too.
-- Needs TimescaleDB 2.18 (columnstore policies) in its community edition.

SELECT create_hypertable('watches', by_range('time', INTERVAL '1 day'), create_default_indexes => false);
SELECT create_hypertable('ratings', by_range('time', INTERVAL '30 days'), create_default_indexes => false);
SELECT create_hypertable('recommendation_requests', by_range('time', INTERVAL '7 days'), create_default_indexes => false);
SELECT create_hypertable('quarantine', by_range('time', INTERVAL '30 days'), create_default_indexes => false);
SELECT create_hypertable('impressions', by_range('time', INTERVAL '7 days'), create_default_indexes => false);

-- In the order of the identity, so that a line that comes again is found in one segment.
ALTER TABLE watches SET (timescaledb.enable_columnstore, timescaledb.segmentby = 'topic_key, partition', timescaledb.orderby = '"offset"');
ALTER TABLE recommendation_requests SET (timescaledb.enable_columnstore, timescaledb.segmentby = 'topic_key, partition', timescaledb.orderby = '"offset"');
ALTER TABLE impressions SET (timescaledb.enable_columnstore, timescaledb.segmentby = '', timescaledb.orderby = 'id, time');
CALL add_columnstore_policy('watches', after => INTERVAL '2 days');
CALL add_columnstore_policy('recommendation_requests', after => INTERVAL '14 days');
CALL add_columnstore_policy('impressions', after => INTERVAL '14 days');

-- What a year of them is worth is in `watch_sessions`, in the ratings, and in the aggregates below.
SELECT add_retention_policy('watches', drop_after => INTERVAL '7 days');
SELECT add_retention_policy('recommendation_requests', drop_after => INTERVAL '90 days');
SELECT add_retention_policy('quarantine', drop_after => INTERVAL '180 days');
SELECT add_retention_policy('impressions', drop_after => INTERVAL '180 days');

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

-- Each window reaches back far enough for lines that come late, and ends well short of the retention.
SELECT add_continuous_aggregate_policy('watches_per_minute', INTERVAL '3 days', INTERVAL '5 minutes', INTERVAL '5 minutes');
SELECT add_continuous_aggregate_policy('ratings_per_minute', INTERVAL '7 days', INTERVAL '5 minutes', INTERVAL '5 minutes');
SELECT add_continuous_aggregate_policy('recommendation_requests_per_minute', INTERVAL '7 days', INTERVAL '5 minutes', INTERVAL '5 minutes');
SELECT add_continuous_aggregate_policy('quarantine_per_minute', INTERVAL '7 days', INTERVAL '5 minutes', INTERVAL '5 minutes');
SELECT add_continuous_aggregate_policy('impressions_per_minute', INTERVAL '7 days', INTERVAL '5 minutes', INTERVAL '5 minutes');
SELECT add_continuous_aggregate_policy('movie_watches_per_hour', INTERVAL '3 days', INTERVAL '1 hour', INTERVAL '30 minutes');
SELECT add_continuous_aggregate_policy('movie_ratings_per_day', INTERVAL '30 days', INTERVAL '1 day', INTERVAL '6 hours');

-- The policies above do it.
CREATE FUNCTION delete_expired_rows() RETURNS void LANGUAGE sql AS '';
