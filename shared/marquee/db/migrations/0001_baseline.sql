-- Tables of both kinds of database: event store, impressions, monitoring results, retention terms.

-- EVENT STORE
-- The identity of a row is (topic_key, partition, "offset"): the position of its record in Kafka. A hypertable
-- requires the time column in every unique key, so `time` ends each key; it is a function of the record.

-- One incarnation of a topic. A topic that is deleted and created again has a new id and starts at offset 0.
CREATE TABLE topics (
    topic_key integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    topic     text NOT NULL,
    topic_id  text NOT NULL UNIQUE
);

-- One minute of one movie watched by one user. Kept for a few days; `watch_sessions` is permanent.
CREATE TABLE watches (
    time      timestamptz NOT NULL,
    topic_key integer     NOT NULL,
    partition integer     NOT NULL,
    "offset"  bigint      NOT NULL,
    user_id   text        NOT NULL,
    movie_id  text        NOT NULL,
    minute    integer     NOT NULL,
    PRIMARY KEY (topic_key, partition, "offset", time)
);

CREATE TABLE ratings (
    time      timestamptz NOT NULL,
    topic_key integer     NOT NULL,
    partition integer     NOT NULL,
    "offset"  bigint      NOT NULL,
    user_id   text        NOT NULL,
    movie_id  text        NOT NULL,
    rating    smallint    NOT NULL,
    PRIMARY KEY (topic_key, partition, "offset", time)
);
CREATE INDEX ratings_by_user ON ratings (user_id, time DESC);
CREATE INDEX ratings_by_time ON ratings (time DESC);

-- Requests to `recommend` as the streaming service logged them. `result` is its text if the status is not 200.
CREATE TABLE recommendation_requests (
    time        timestamptz NOT NULL,
    topic_key   integer     NOT NULL,
    partition   integer     NOT NULL,
    "offset"    bigint      NOT NULL,
    user_id     text        NOT NULL,
    server      text        NOT NULL,
    status      integer     NOT NULL,
    movie_ids   text[]      NOT NULL,
    result      text        NOT NULL,
    response_ms integer     NOT NULL,
    PRIMARY KEY (topic_key, partition, "offset", time)
);
CREATE INDEX recommendation_requests_by_time ON recommendation_requests (time DESC);

CREATE TABLE accounts (
    time      timestamptz NOT NULL,
    topic_key integer     NOT NULL,
    partition integer     NOT NULL,
    "offset"  bigint      NOT NULL,
    user_id   text        NOT NULL,
    PRIMARY KEY (topic_key, partition, "offset", time)
);
CREATE INDEX accounts_by_time ON accounts (time DESC);

-- Records that could not be parsed, byte for byte. `time` is Kafka's, because the record's own may be malformed.
CREATE TABLE quarantine (
    time      timestamptz NOT NULL,
    topic_key integer     NOT NULL,
    partition integer     NOT NULL,
    "offset"  bigint      NOT NULL,
    category  text        NOT NULL,
    detail    text        NOT NULL,
    raw       bytea       NOT NULL,
    PRIMARY KEY (topic_key, partition, "offset", time)
);
CREATE INDEX quarantine_by_time ON quarantine (time DESC);

-- Deliveries that are not valid events of ours. Each is stored once, however often it is delivered.
CREATE TABLE rejected_events (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    received timestamptz NOT NULL DEFAULT now(),
    reason   text        NOT NULL,
    headers  jsonb       NOT NULL,
    body     bytea       NOT NULL,
    digest   bytea       NOT NULL UNIQUE
);

-- One user's watching of one movie, aggregated from watch events. The aggregation uses only least and greatest, so it
-- is idempotent. The free space on each page (fillfactor) makes most updates heap-only.
CREATE TABLE watch_sessions (
    user_id      text        NOT NULL,
    movie_id     text        NOT NULL,
    started      timestamptz NOT NULL,
    ended        timestamptz NOT NULL,
    first_minute integer     NOT NULL,
    last_minute  integer     NOT NULL,
    PRIMARY KEY (user_id, movie_id)
) WITH (fillfactor = 80);
-- Finds sessions by their start. A block-range index keeps updates of the row heap-only.
CREATE INDEX watch_sessions_by_start ON watch_sessions
    USING brin (started) WITH (pages_per_range = 32, autosummarize = on);

-- The ledger of written offsets, updated in the transactions that write the rows. An offset in `written` is never
-- written again, even if its row was replayed, is parsed differently by a newer version, or was deleted. A batch
-- covers all offsets from its first to its last, so `written` is one range as a rule. `unaggregated`: written offsets
-- whose watches are not in `watch_sessions` yet. `aggregated_at`: when `unaggregated` was last empty.
CREATE TABLE written_offsets (
    topic_key               integer        NOT NULL,
    partition               integer        NOT NULL,
    next_offset             bigint         NOT NULL,
    watches                 bigint         NOT NULL,
    ratings                 bigint         NOT NULL,
    recommendation_requests bigint         NOT NULL,
    accounts                bigint         NOT NULL,
    quarantine              bigint         NOT NULL,
    updated                 timestamptz    NOT NULL,
    written                 int8multirange NOT NULL DEFAULT '{}',
    unaggregated            int8multirange NOT NULL DEFAULT '{}',
    aggregated_at           timestamptz    NOT NULL DEFAULT now(),
    PRIMARY KEY (topic_key, partition)
) WITH (fillfactor = 50);

-- Deliveries per minute of the writer's clock, counted in the transactions that write them. `redelivered`: records
-- that had been written before. `lag_ms_max`: the maximum age of a record when it was written, from Kafka's timestamp;
-- null if Kafka has none.
CREATE TABLE deliveries_per_minute (
    time              timestamptz NOT NULL,
    topic_key         integer     NOT NULL,
    partition         integer     NOT NULL,
    batches           bigint      NOT NULL,
    records           bigint      NOT NULL,
    redelivered       bigint      NOT NULL,
    batch_records_max bigint      NOT NULL,
    lag_ms_max        bigint,
    PRIMARY KEY (topic_key, partition, time)
) WITH (fillfactor = 50);
CREATE INDEX deliveries_per_minute_by_time ON deliveries_per_minute (time DESC);

-- IMPRESSIONS AND TRAINING RUNS

-- One list that `recommend` served; movies is [{"movie_id", "score", "rating", "propensity"}, ...], best first.
CREATE TABLE impressions (
    time          timestamptz NOT NULL,
    id            text        NOT NULL,
    user_id       text        NOT NULL,
    arm           text        NOT NULL,
    model_version text        NOT NULL,
    release       integer     NOT NULL,
    tier          text        NOT NULL,
    movies        jsonb       NOT NULL,
    PRIMARY KEY (id, time)
);
CREATE INDEX impressions_by_user ON impressions (user_id, time DESC);
CREATE INDEX impressions_by_time ON impressions (time DESC);

-- The movies of each impression, one per row. `position` counts from 1.
CREATE VIEW impression_movies AS
SELECT i.time, i.id, i.user_id, i.arm, i.model_version, i.release, i.tier,
       f.position::integer AS position,
       f.movie ->> 'movie_id' AS movie_id,
       (f.movie ->> 'score')::double precision AS score,
       (f.movie ->> 'rating')::double precision AS rating,
       (f.movie ->> 'propensity')::double precision AS propensity
FROM impressions i, jsonb_array_elements(i.movies) WITH ORDINALITY AS f (movie, position);

-- One run of `retrain`, whatever its outcome. `version` is null if the run made no artifact.
CREATE TABLE retrain_runs (
    run             text        PRIMARY KEY,
    started         timestamptz NOT NULL,
    finished        timestamptz NOT NULL,
    trained_through timestamptz,
    version         text,
    outcome         text        NOT NULL,
    reason          text        NOT NULL,
    metrics         jsonb       NOT NULL
);
CREATE INDEX retrain_runs_by_time ON retrain_runs (started DESC);

-- Requests for a retraining, and the run that claimed each. At most one request is open at a time.
CREATE TABLE retrain_requests (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    time          timestamptz NOT NULL DEFAULT now(),
    check_name    text        NOT NULL DEFAULT '',
    model_version text        NOT NULL DEFAULT '',
    reason        text        NOT NULL,
    claimed       timestamptz,
    run           text,
    CHECK ((claimed IS NULL) = (run IS NULL))
);
CREATE UNIQUE INDEX one_open_retrain_request ON retrain_requests ((true)) WHERE claimed IS NULL;

-- MONITORING (docs/monitoring.md)
-- Every row is a function of the tables above and of the releases. Computing it again gives the same row, so a run of
-- the monitor that was killed is repeated safely.

-- One row for each rating that was checked: the prediction made before the rating arrived, or the `reason` why there
-- is none. The identity is the rating's. source: 'impression' if a list served before the rating holds the prediction
-- (`impression` is its id), 'computed' with the model that served this user at the time, '' without a prediction.
-- The rating lies between low and high with probability `coverage`.
CREATE TABLE predictions (
    time          timestamptz NOT NULL,
    topic_key     integer     NOT NULL,
    partition     integer     NOT NULL,
    "offset"      bigint      NOT NULL,
    user_id       text        NOT NULL,
    movie_id      text        NOT NULL,
    rating        smallint    NOT NULL,
    arm           text        NOT NULL DEFAULT '',
    model_version text        NOT NULL DEFAULT '',
    release       integer     NOT NULL DEFAULT 0,
    tier          text        NOT NULL DEFAULT '',
    source        text        NOT NULL CHECK (source IN ('impression', 'computed', '')),
    impression    text,
    predicted     double precision,
    low           double precision,
    high          double precision,
    coverage      double precision,
    reason        text        NOT NULL DEFAULT '',
    PRIMARY KEY (topic_key, partition, "offset", time),
    CHECK ((predicted IS NULL) = (source = '') AND (predicted IS NULL) = (reason <> ''))
);
CREATE INDEX predictions_by_time ON predictions (time DESC);

-- Errors of the predictions in a window that ends at `time`, in points of the rating scale, with 95 % intervals from a
-- bootstrap over users. arm = '' and model_version = '' is the total. nominal_coverage: the average probability of the
-- prediction intervals. observed_coverage: the fraction of ratings inside them (null if no prediction has an interval).
CREATE TABLE live_accuracy (
    time              timestamptz NOT NULL,
    window_s          integer     NOT NULL,
    arm               text        NOT NULL,
    model_version     text        NOT NULL,
    ratings           integer     NOT NULL,
    users             integer     NOT NULL,
    rmse              double precision NOT NULL,
    rmse_low          double precision,
    rmse_high         double precision,
    mae               double precision NOT NULL,
    mae_low           double precision,
    mae_high          double precision,
    nominal_coverage  double precision,
    observed_coverage double precision,
    PRIMARY KEY (time, window_s, arm, model_version)
);

-- Outcomes of the movies in the impressions of the hour that begins at `time`, by position in the list (from 1).
-- A movie that is started or rated within the attribution window counts once: for the last impression before it.
CREATE TABLE impression_outcomes (
    time          timestamptz NOT NULL,
    arm           text        NOT NULL,
    model_version text        NOT NULL,
    tier          text        NOT NULL,
    position      integer     NOT NULL,
    shown         integer     NOT NULL,
    watched       integer     NOT NULL,
    minutes       bigint      NOT NULL,
    rated         integer     NOT NULL,
    rating_sum    bigint      NOT NULL,
    computed      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (time, arm, model_version, tier, position)
);

-- Rows that may change outcomes, queued by triggers until the monitor takes them: impressions, and the watch sessions
-- and ratings that are attributed to them. `movie_id` is null for an impression.
CREATE TABLE attribution_queue (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind     text        NOT NULL,
    time     timestamptz NOT NULL,
    user_id  text        NOT NULL,
    movie_id text
);

CREATE FUNCTION queue_impression() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO public.attribution_queue (kind, time, user_id) VALUES ('impression', NEW.time, NEW.user_id);
    RETURN NULL;
END
$$;
CREATE FUNCTION queue_rating() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO public.attribution_queue (kind, time, user_id, movie_id)
    VALUES ('rating', NEW.time, NEW.user_id, NEW.movie_id);
    RETURN NULL;
END
$$;
CREATE FUNCTION queue_watch_session() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO public.attribution_queue (kind, time, user_id, movie_id)
    VALUES ('session', NEW.started, NEW.user_id, NEW.movie_id);
    RETURN NULL;
END
$$;
CREATE TRIGGER queue_attribution AFTER INSERT ON impressions FOR EACH ROW EXECUTE FUNCTION queue_impression();
CREATE TRIGGER queue_attribution AFTER INSERT ON ratings FOR EACH ROW EXECUTE FUNCTION queue_rating();
CREATE TRIGGER queue_attribution AFTER INSERT ON watch_sessions FOR EACH ROW EXECUTE FUNCTION queue_watch_session();
-- A session that grows keeps its impression; only an earlier start can change it.
CREATE TRIGGER queue_attribution_again AFTER UPDATE OF started ON watch_sessions FOR EACH ROW
    WHEN (NEW.started <> OLD.started) EXECUTE FUNCTION queue_watch_session();

-- The impression, shown at `shown`, that a watch session or rating counts for. topic_key, partition and "offset" are
-- those of the rating; a watch session has zeros and no rating.
CREATE TABLE attributed_events (
    user_id       text        NOT NULL,
    movie_id      text        NOT NULL,
    topic_key     integer     NOT NULL,
    partition     integer     NOT NULL,
    "offset"      bigint      NOT NULL,
    rating        smallint,
    shown         timestamptz NOT NULL,
    arm           text        NOT NULL,
    model_version text        NOT NULL,
    tier          text        NOT NULL,
    position      integer     NOT NULL,
    PRIMARY KEY (user_id, movie_id, topic_key, partition, "offset")
);
CREATE INDEX attributed_events_by_time ON attributed_events (shown);

-- Availability in the minute that begins at `time`, as the streaming service logged it. answered: status 200 within the
-- caller's timeout. late: no answer within the timeout. failed: any other status. The percentiles are those of the
-- response time in milliseconds over all requests.
CREATE TABLE availability (
    time     timestamptz NOT NULL,
    server   text        NOT NULL,
    requests integer     NOT NULL,
    answered integer     NOT NULL,
    late     integer     NOT NULL,
    failed   integer     NOT NULL,
    p50_ms   double precision NOT NULL,
    p95_ms   double precision NOT NULL,
    p99_ms   double precision NOT NULL,
    PRIMARY KEY (time, server)
);

-- One data quality check at one time. `value` is null if there is too little data; `detail` names what was compared.
CREATE TABLE quality_checks (
    time       timestamptz NOT NULL,
    name       text        NOT NULL,
    value      double precision,
    usual_low  double precision,
    usual_high double precision,
    unit       text        NOT NULL DEFAULT '',
    verdict    text        NOT NULL CHECK (verdict IN ('good', 'warning', 'bad')),
    detail     text        NOT NULL DEFAULT '',
    PRIMARY KEY (time, name)
);
CREATE INDEX quality_checks_by_name ON quality_checks (name, time DESC);

-- Each task of each run of the monitor: the number of rows it wrote, or its error.
CREATE TABLE monitor_runs (
    time    timestamptz NOT NULL,
    task    text        NOT NULL,
    rows    integer     NOT NULL,
    seconds double precision NOT NULL,
    error   text        NOT NULL DEFAULT '',
    PRIMARY KEY (time, task)
);

-- RETENTION
-- How long rows are kept in the tables that no policy of TimescaleDB covers. A new table adds its own row.
CREATE TABLE retention_terms (
    table_name  text PRIMARY KEY,
    time_column text     NOT NULL DEFAULT 'time',
    keep        interval NOT NULL
);
INSERT INTO retention_terms (table_name, time_column, keep) VALUES ('attributed_events', 'shown', '10 days');
INSERT INTO retention_terms (table_name, keep) VALUES
    ('attribution_queue', '10 days'),
    ('deliveries_per_minute', '180 days'),
    ('monitor_runs', '30 days'),
    ('retrain_requests', '400 days');

CREATE FUNCTION delete_expired_rows() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    term retention_terms;
BEGIN
    -- Triggers that keep counts ignore rows that expire.
    PERFORM set_config('marquee.expiring', 'on', true);
    FOR term IN SELECT * FROM retention_terms ORDER BY table_name LOOP
        EXECUTE format('DELETE FROM %s WHERE %I < now() - $1', term.table_name::regclass, term.time_column)
            USING term.keep;
    END LOOP;
END
$$;
