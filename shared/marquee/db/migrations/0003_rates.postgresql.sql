-- Without TimescaleDB: plain views of the same names and columns, and a retention that somebody has to call.
-- The origin is time_bucket's own, so that both kinds cut time at the same places.

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

-- A block-range index costs a bulk insert next to nothing. The second column is what the view above filters by.
CREATE INDEX watches_by_time ON watches USING brin
    (time, date_bin(INTERVAL '1 minute', time, TIMESTAMPTZ '2000-01-03 00:00:00+00'),
     date_bin(INTERVAL '1 hour', time, TIMESTAMPTZ '2000-01-03 00:00:00+00'))
    WITH (pages_per_range = 32, autosummarize = on);

-- The same terms as TimescaleDB's policies.
CREATE FUNCTION delete_expired_rows() RETURNS void LANGUAGE sql AS $$
    DELETE FROM watches WHERE time < now() - INTERVAL '7 days';
    DELETE FROM recommendation_requests WHERE time < now() - INTERVAL '90 days';
    DELETE FROM quarantine WHERE time < now() - INTERVAL '180 days';
    DELETE FROM impressions WHERE time < now() - INTERVAL '180 days';
$$;
