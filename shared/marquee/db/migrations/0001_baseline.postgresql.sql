-- Without TimescaleDB: plain views with the names and columns of the continuous aggregates, and retention terms that
-- the job `retention` applies. The origin is that of time_bucket, so both kinds of database have the same buckets.

CREATE VIEW watches_per_minute AS
SELECT date_bin(INTERVAL '1 minute', time, TIMESTAMPTZ '2000-01-03 00:00:00+00') AS time, count(*) AS records
FROM watches GROUP BY 1;

CREATE VIEW ratings_per_minute AS
SELECT date_bin(INTERVAL '1 minute', time, TIMESTAMPTZ '2000-01-03 00:00:00+00') AS time, count(*) AS ratings,
       sum(rating) AS rating_sum, sum(rating * rating) AS rating_square_sum
FROM ratings GROUP BY 1;

CREATE VIEW recommendation_requests_per_minute AS
SELECT date_bin(INTERVAL '1 minute', time, TIMESTAMPTZ '2000-01-03 00:00:00+00') AS time, status,
       count(*) AS requests, sum(response_ms) AS response_ms_sum, max(response_ms) AS response_ms_max
FROM recommendation_requests GROUP BY 1, 2;

CREATE VIEW quarantine_per_minute AS
SELECT date_bin(INTERVAL '1 minute', time, TIMESTAMPTZ '2000-01-03 00:00:00+00') AS time, category, count(*) AS records
FROM quarantine GROUP BY 1, 2;

CREATE VIEW impressions_per_minute AS
SELECT date_bin(INTERVAL '1 minute', time, TIMESTAMPTZ '2000-01-03 00:00:00+00') AS time,
       arm, model_version, tier, count(*) AS impressions
FROM impressions GROUP BY 1, 2, 3, 4;

CREATE VIEW movie_watches_per_hour AS
SELECT date_bin(INTERVAL '1 hour', time, TIMESTAMPTZ '2000-01-03 00:00:00+00') AS time, movie_id, count(*) AS records
FROM watches GROUP BY 1, 2;

CREATE VIEW movie_ratings_per_day AS
SELECT date_bin(INTERVAL '1 day', time, TIMESTAMPTZ '2000-01-03 00:00:00+00') AS time, movie_id,
       count(*) AS ratings, sum(rating) AS rating_sum
FROM ratings GROUP BY 1, 2;

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

-- A block-range index costs a bulk insert almost nothing. The second and third columns are what the views filter by.
CREATE INDEX watches_by_time ON watches USING brin
    (time, date_bin(INTERVAL '1 minute', time, TIMESTAMPTZ '2000-01-03 00:00:00+00'),
     date_bin(INTERVAL '1 hour', time, TIMESTAMPTZ '2000-01-03 00:00:00+00'))
    WITH (pages_per_range = 32, autosummarize = on);

-- The terms of TimescaleDB's retention policies.
INSERT INTO retention_terms (table_name, keep) VALUES
    ('watches', '7 days'),
    ('recommendation_requests', '90 days'),
    ('quarantine', '180 days'),
    ('impressions', '180 days'),
    ('predictions', '180 days'),
    ('live_accuracy', '400 days'),
    ('impression_outcomes', '400 days'),
    ('availability', '400 days'),
    ('quality_checks', '400 days');
