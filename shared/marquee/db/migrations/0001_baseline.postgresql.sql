-- Without TimescaleDB: views with the names and columns of the continuous aggregates, and retention terms that the job
-- `retention` applies. The origin is that of time_bucket, so both kinds of database have the same buckets.
--
-- The views read rollup tables of the schema `rollups`, so that a panel over a day of the stream reads minutes and not
-- records. Watches are almost all records: `roll_up_records` adds each range of written offsets once, and the view
-- counts the watches of the other ranges directly. All other tables are counted by triggers. A view therefore equals
-- a count of all rows at any time, late rows included.

CREATE SCHEMA rollups;

-- WATCHES
CREATE TABLE rollups.watches_per_minute (
    time    timestamptz PRIMARY KEY,
    records bigint      NOT NULL
) WITH (fillfactor = 80);

CREATE TABLE rollups.movie_watches_per_hour (
    time     timestamptz NOT NULL,
    movie_id text        NOT NULL,
    records  bigint      NOT NULL,
    PRIMARY KEY (time, movie_id)
) WITH (fillfactor = 80);

-- The offsets whose watches are in the two tables above.
CREATE TABLE rollups.watch_offsets (
    topic_key integer        NOT NULL,
    partition integer        NOT NULL,
    offsets   int8multirange NOT NULL DEFAULT '{}',
    PRIMARY KEY (topic_key, partition)
) WITH (fillfactor = 50);

CREATE VIEW rollups.new_offsets AS
SELECT topic_key, partition, lower(gap) AS first, upper(gap) AS after
FROM written_offsets LEFT JOIN rollups.watch_offsets USING (topic_key, partition),
     unnest(written - coalesce(offsets, '{}')) AS gap;

-- OFFSET 0 makes the planner read each range by the primary key. It overestimates their number, and would read all
-- watches otherwise.
CREATE VIEW rollups.new_watches AS
SELECT new.time, new.movie_id
FROM rollups.new_offsets AS n CROSS JOIN LATERAL (
    SELECT time, movie_id FROM watches AS w
    WHERE w.topic_key = n.topic_key AND w.partition = n.partition AND w."offset" >= n.first AND w."offset" < n.after
    OFFSET 0
) AS new;

CREATE VIEW watches_per_minute AS
SELECT time, sum(records)::bigint AS records
FROM (SELECT time, records FROM rollups.watches_per_minute
      UNION ALL
      SELECT date_bin(INTERVAL '1 minute', time, TIMESTAMPTZ '2000-01-03 00:00:00+00'), count(*)
      FROM rollups.new_watches GROUP BY 1) AS parts (time, records)
GROUP BY time;

CREATE VIEW movie_watches_per_hour AS
SELECT time, movie_id, sum(records)::bigint AS records
FROM (SELECT time, movie_id, records FROM rollups.movie_watches_per_hour
      UNION ALL
      SELECT date_bin(INTERVAL '1 hour', time, TIMESTAMPTZ '2000-01-03 00:00:00+00'), movie_id, count(*)
      FROM rollups.new_watches GROUP BY 1, 2) AS parts (time, movie_id, records)
GROUP BY time, movie_id;

-- OTHER TABLES
-- A trigger appends the counts of each statement as new rows (`is_new`); `roll_up_records` merges them by key. A row
-- may have several parts at any time: the views add them up.
CREATE TABLE rollups.ratings_per_minute (
    time              timestamptz NOT NULL,
    ratings           bigint      NOT NULL,
    rating_sum        bigint      NOT NULL,
    rating_square_sum bigint      NOT NULL,
    is_new            boolean     NOT NULL DEFAULT true
);
CREATE TABLE rollups.movie_ratings_per_day (
    time       timestamptz NOT NULL,
    movie_id   text        NOT NULL,
    ratings    bigint      NOT NULL,
    rating_sum bigint      NOT NULL,
    is_new     boolean     NOT NULL DEFAULT true
);
CREATE TABLE rollups.recommendation_requests_per_minute (
    time            timestamptz NOT NULL,
    status          integer     NOT NULL,
    requests        bigint      NOT NULL,
    response_ms_sum bigint      NOT NULL,
    response_ms_max integer     NOT NULL,
    is_new          boolean     NOT NULL DEFAULT true
);
CREATE TABLE rollups.accounts_per_minute (
    time    timestamptz NOT NULL,
    records bigint      NOT NULL,
    is_new  boolean     NOT NULL DEFAULT true
);
CREATE TABLE rollups.quarantine_per_minute (
    time     timestamptz NOT NULL,
    category text        NOT NULL,
    records  bigint      NOT NULL,
    is_new   boolean     NOT NULL DEFAULT true
);
CREATE TABLE rollups.impressions_per_minute (
    time          timestamptz NOT NULL,
    arm           text        NOT NULL,
    model_version text        NOT NULL,
    tier          text        NOT NULL,
    impressions   bigint      NOT NULL,
    is_new        boolean     NOT NULL DEFAULT true
);
DO $$
DECLARE
    name text;
    keys text;
BEGIN
    FOR name, keys IN VALUES
        ('ratings_per_minute', 'time'),
        ('movie_ratings_per_day', 'time, movie_id'),
        ('recommendation_requests_per_minute', 'time, status'),
        ('accounts_per_minute', 'time'),
        ('quarantine_per_minute', 'time, category'),
        ('impressions_per_minute', 'time, arm, model_version, tier')
    LOOP
        EXECUTE format('CREATE INDEX ON rollups.%I (%s)', name, keys);
        EXECUTE format('CREATE INDEX ON rollups.%I (time) WHERE is_new', name);
    END LOOP;
END
$$;

CREATE VIEW ratings_per_minute AS
SELECT time, sum(ratings)::bigint AS ratings, sum(rating_sum)::bigint AS rating_sum,
       sum(rating_square_sum)::bigint AS rating_square_sum
FROM rollups.ratings_per_minute GROUP BY time;

CREATE VIEW movie_ratings_per_day AS
SELECT time, movie_id, sum(ratings)::bigint AS ratings, sum(rating_sum)::bigint AS rating_sum
FROM rollups.movie_ratings_per_day GROUP BY time, movie_id;

CREATE VIEW recommendation_requests_per_minute AS
SELECT time, status, sum(requests)::bigint AS requests, sum(response_ms_sum)::bigint AS response_ms_sum,
       max(response_ms_max) AS response_ms_max
FROM rollups.recommendation_requests_per_minute GROUP BY time, status;

CREATE VIEW quarantine_per_minute AS
SELECT time, category, sum(records)::bigint AS records
FROM rollups.quarantine_per_minute GROUP BY time, category HAVING sum(records) <> 0;

CREATE VIEW impressions_per_minute AS
SELECT time, arm, model_version, tier, sum(impressions)::bigint AS impressions
FROM rollups.impressions_per_minute GROUP BY time, arm, model_version, tier;

-- Records of every kind per minute. A quarantined record counts in the minute of its Kafka timestamp.
CREATE VIEW records_per_minute AS
SELECT time, 'watch' AS kind, records FROM watches_per_minute
UNION ALL
SELECT time, 'rating', ratings FROM ratings_per_minute
UNION ALL
SELECT time, 'recommendation_request', requests::bigint
FROM (SELECT time, sum(requests) AS requests FROM recommendation_requests_per_minute GROUP BY time) AS requests
UNION ALL
SELECT time, 'account', records::bigint
FROM (SELECT time, sum(records) AS records FROM rollups.accounts_per_minute GROUP BY time) AS accounts
UNION ALL
SELECT time, 'quarantine', records::bigint
FROM (SELECT time, sum(records) AS records FROM quarantine_per_minute GROUP BY time) AS quarantined;

-- The functions run as their owner, so that a writer needs no privilege on the rollups.
CREATE FUNCTION rollups.count_ratings() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO rollups.ratings_per_minute
    SELECT date_bin(INTERVAL '1 minute', time, TIMESTAMPTZ '2000-01-03 00:00:00+00'), count(*), sum(rating),
           sum(rating * rating) FROM added GROUP BY 1;
    INSERT INTO rollups.movie_ratings_per_day
    SELECT date_bin(INTERVAL '1 day', time, TIMESTAMPTZ '2000-01-03 00:00:00+00'), movie_id, count(*), sum(rating)
    FROM added GROUP BY 1, 2;
    RETURN NULL;
END
$$;
CREATE FUNCTION rollups.count_recommendation_requests() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO rollups.recommendation_requests_per_minute
    SELECT date_bin(INTERVAL '1 minute', time, TIMESTAMPTZ '2000-01-03 00:00:00+00'), status, count(*),
           sum(response_ms), max(response_ms) FROM added GROUP BY 1, 2;
    RETURN NULL;
END
$$;
CREATE FUNCTION rollups.count_accounts() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO rollups.accounts_per_minute
    SELECT date_bin(INTERVAL '1 minute', time, TIMESTAMPTZ '2000-01-03 00:00:00+00'), count(*) FROM added GROUP BY 1;
    RETURN NULL;
END
$$;
CREATE FUNCTION rollups.count_quarantine() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO rollups.quarantine_per_minute
    SELECT date_bin(INTERVAL '1 minute', time, TIMESTAMPTZ '2000-01-03 00:00:00+00'), category, count(*)
    FROM added GROUP BY 1, 2;
    RETURN NULL;
END
$$;
CREATE FUNCTION rollups.count_impressions() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO rollups.impressions_per_minute
    SELECT date_bin(INTERVAL '1 minute', time, TIMESTAMPTZ '2000-01-03 00:00:00+00'), arm, model_version, tier,
           count(*) FROM added GROUP BY 1, 2, 3, 4;
    RETURN NULL;
END
$$;
-- A replayed record leaves quarantine and may become a watch: its offset is new again.
CREATE FUNCTION rollups.discount_quarantine() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF current_setting('marquee.expiring', true) = 'on' THEN
        RETURN NULL;
    END IF;
    INSERT INTO rollups.quarantine_per_minute
    SELECT date_bin(INTERVAL '1 minute', time, TIMESTAMPTZ '2000-01-03 00:00:00+00'), category, -count(*)
    FROM removed GROUP BY 1, 2;
    UPDATE rollups.watch_offsets AS rolled_up SET offsets = rolled_up.offsets - replayed.offsets
    FROM (SELECT topic_key, partition, range_agg(int8range("offset", "offset" + 1)) AS offsets
          FROM removed GROUP BY 1, 2) AS replayed
    WHERE rolled_up.topic_key = replayed.topic_key AND rolled_up.partition = replayed.partition;
    RETURN NULL;
END
$$;
-- The arguments are the rollups of the table that was emptied.
CREATE FUNCTION rollups.empty_rollups() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY TG_ARGV LOOP
        EXECUTE format('DELETE FROM rollups.%I', name);
    END LOOP;
    RETURN NULL;
END
$$;

CREATE TRIGGER count_ratings AFTER INSERT ON ratings
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION rollups.count_ratings();
CREATE TRIGGER count_requests AFTER INSERT ON recommendation_requests
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION rollups.count_recommendation_requests();
CREATE TRIGGER count_accounts AFTER INSERT ON accounts
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION rollups.count_accounts();
CREATE TRIGGER count_quarantine AFTER INSERT ON quarantine
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION rollups.count_quarantine();
CREATE TRIGGER discount_quarantine AFTER DELETE ON quarantine
    REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION rollups.discount_quarantine();
CREATE TRIGGER count_impressions AFTER INSERT ON impressions
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION rollups.count_impressions();
CREATE TRIGGER empty_rollups AFTER TRUNCATE ON watches
    FOR EACH STATEMENT EXECUTE FUNCTION rollups.empty_rollups('watches_per_minute', 'movie_watches_per_hour',
                                                              'watch_offsets');
CREATE TRIGGER empty_rollups AFTER TRUNCATE ON ratings
    FOR EACH STATEMENT EXECUTE FUNCTION rollups.empty_rollups('ratings_per_minute', 'movie_ratings_per_day');
CREATE TRIGGER empty_rollups AFTER TRUNCATE ON recommendation_requests
    FOR EACH STATEMENT EXECUTE FUNCTION rollups.empty_rollups('recommendation_requests_per_minute');
CREATE TRIGGER empty_rollups AFTER TRUNCATE ON accounts
    FOR EACH STATEMENT EXECUTE FUNCTION rollups.empty_rollups('accounts_per_minute');
CREATE TRIGGER empty_rollups AFTER TRUNCATE ON quarantine
    FOR EACH STATEMENT EXECUTE FUNCTION rollups.empty_rollups('quarantine_per_minute');
CREATE TRIGGER empty_rollups AFTER TRUNCATE ON impressions
    FOR EACH STATEMENT EXECUTE FUNCTION rollups.empty_rollups('impressions_per_minute');

-- Merge the new rows of the tables that triggers fill.
CREATE FUNCTION rollups.merge_new_rows() RETURNS void LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    name  text;
    keys  text;
    sums  text;
BEGIN
    FOR name, keys, sums IN VALUES
        ('ratings_per_minute', 'time', 'sum(ratings), sum(rating_sum), sum(rating_square_sum)'),
        ('movie_ratings_per_day', 'time, movie_id', 'sum(ratings), sum(rating_sum)'),
        ('recommendation_requests_per_minute', 'time, status',
         'sum(requests), sum(response_ms_sum), max(response_ms_max)'),
        ('accounts_per_minute', 'time', 'sum(records)'),
        ('quarantine_per_minute', 'time, category', 'sum(records)'),
        ('impressions_per_minute', 'time, arm, model_version, tier', 'sum(impressions)')
    LOOP
        EXECUTE format(
            'WITH added AS (DELETE FROM rollups.%1$I WHERE is_new RETURNING *),
                  earlier AS (DELETE FROM rollups.%1$I WHERE NOT is_new AND (%2$s) IN (SELECT %2$s FROM added)
                              RETURNING *)
             INSERT INTO rollups.%1$I SELECT %2$s, %3$s, false
             FROM (TABLE added UNION ALL TABLE earlier) AS parts GROUP BY %2$s', name, keys, sums);
    END LOOP;
END
$$;

-- Roll up at most `most` new offsets of one partition; return the number of offsets, 0 if none is new.
CREATE FUNCTION roll_up_records(most bigint) RETURNS bigint LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    chunk record;
BEGIN
    -- One at a time; released with the transaction.
    LOCK TABLE rollups.watch_offsets IN SHARE ROW EXCLUSIVE MODE;
    PERFORM rollups.merge_new_rows();
    SELECT topic_key, partition, first, least(after, first + most) AS after INTO chunk
    FROM rollups.new_offsets ORDER BY first LIMIT 1;
    IF NOT FOUND THEN
        RETURN 0;
    END IF;
    WITH counts AS (
        SELECT date_bin(INTERVAL '1 minute', time, TIMESTAMPTZ '2000-01-03 00:00:00+00') AS time, movie_id,
               count(*) AS records
        FROM public.watches
        WHERE topic_key = chunk.topic_key AND partition = chunk.partition
          AND "offset" >= chunk.first AND "offset" < chunk.after
        GROUP BY 1, 2
    ), hours AS (
        INSERT INTO rollups.movie_watches_per_hour AS old
        SELECT date_bin(INTERVAL '1 hour', time, TIMESTAMPTZ '2000-01-03 00:00:00+00'), movie_id, sum(records)
        FROM counts GROUP BY 1, 2
        ON CONFLICT (time, movie_id) DO UPDATE SET records = old.records + excluded.records
    )
    INSERT INTO rollups.watches_per_minute AS old SELECT time, sum(records) FROM counts GROUP BY 1
    ON CONFLICT (time) DO UPDATE SET records = old.records + excluded.records;
    INSERT INTO rollups.watch_offsets AS old
    VALUES (chunk.topic_key, chunk.partition, int8multirange(int8range(chunk.first, chunk.after)))
    ON CONFLICT (topic_key, partition) DO UPDATE SET offsets = old.offsets + excluded.offsets;
    RETURN chunk.after - chunk.first;
END
$$;

-- A block-range index costs a bulk insert almost nothing.
CREATE INDEX watches_by_time ON watches USING brin (time) WITH (pages_per_range = 32, autosummarize = on);

-- The terms of TimescaleDB's retention policies. Rollups outlive their rows.
INSERT INTO retention_terms (table_name, keep) VALUES
    ('watches', '7 days'),
    ('recommendation_requests', '90 days'),
    ('quarantine', '180 days'),
    ('impressions', '180 days'),
    ('predictions', '180 days'),
    ('live_accuracy', '400 days'),
    ('impression_outcomes', '400 days'),
    ('availability', '400 days'),
    ('quality_checks', '400 days'),
    ('rollups.watches_per_minute', '400 days'),
    ('rollups.movie_watches_per_hour', '90 days'),
    ('rollups.ratings_per_minute', '400 days'),
    ('rollups.movie_ratings_per_day', '400 days'),
    ('rollups.recommendation_requests_per_minute', '400 days'),
    ('rollups.accounts_per_minute', '400 days'),
    ('rollups.quarantine_per_minute', '400 days'),
    ('rollups.impressions_per_minute', '400 days');
