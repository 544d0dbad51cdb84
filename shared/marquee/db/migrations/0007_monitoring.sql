-- What the monitor finds out (docs/monitoring.md). Every row is a function of the tables above and of the releases:
-- computing it again gives the same row, so a run that was killed is simply run again.

-- What was predicted of each rating before it came in; a row for every rating that was looked at, also where nothing
-- could be predicted (`reason` says why). The identity is the rating's. source: 'impression' where a list that was
-- served before the rating (`impression` is its id) said so, 'computed' with the model that served this user then,
-- '' without a prediction. low and high: where the rating should lie with probability `coverage`.
CREATE TABLE predictions (
    time          timestamptz NOT NULL,
    topic_key        integer     NOT NULL,
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
    coverage         double precision,
    reason        text        NOT NULL DEFAULT '',
    PRIMARY KEY (topic_key, partition, "offset", time),
    CHECK ((predicted IS NULL) = (source = '') AND (predicted IS NULL) = (reason <> ''))
);
CREATE INDEX predictions_by_time ON predictions (time DESC);

-- Errors of the predictions of a window that ends at `time`, in points of the scale, with 95 % intervals from a
-- bootstrap over users. arm = '' and model_version = '': all of them. interval_share: what the prediction intervals
-- promise on average; interval_covered: the share of the ratings that fell within them (null: none had one).
CREATE TABLE live_accuracy (
    time             timestamptz NOT NULL,
    window_s         integer     NOT NULL,
    arm              text        NOT NULL,
    model_version    text        NOT NULL,
    ratings          integer     NOT NULL,
    users            integer     NOT NULL,
    rmse             double precision NOT NULL,
    rmse_low         double precision,
    rmse_high        double precision,
    mae              double precision NOT NULL,
    mae_low          double precision,
    mae_high         double precision,
    nominal_coverage   double precision,
    observed_coverage double precision,
    PRIMARY KEY (time, window_s, arm, model_version)
);

-- What became of the movies of the impressions of the hour that begins at `time`, by the place in the list (from 1).
-- A movie that is begun, or rated, within the watch window counts once: for the last impression that showed it before.
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

-- The minute that begins at `time` as the streaming service saw it. answered: status 200 within the caller's timeout;
-- late: the caller gave up, or the answer came after its timeout; failed: any other status. Percentiles are of the
-- milliseconds that it waited, over all requests.
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

-- One check of the data at one time. value is null where there is too little to tell; detail says what was compared.
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

-- What asks for a retraining, and the run that took it up. No more than one is open at a time.
CREATE TABLE retrain_requests (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    time          timestamptz NOT NULL DEFAULT now(),
    check_name    text        NOT NULL DEFAULT '',
    model_version text        NOT NULL DEFAULT '',
    reason        text        NOT NULL,
    taken         timestamptz,
    run           text,
    CHECK ((taken IS NULL) = (run IS NULL))
);
CREATE UNIQUE INDEX one_open_retrain_request ON retrain_requests ((true)) WHERE taken IS NULL;

-- Each task of each run of the monitor: the rows it wrote, or why it could not.
CREATE TABLE monitor_runs (
    time    timestamptz NOT NULL,
    task    text        NOT NULL,
    rows    integer     NOT NULL,
    seconds double precision NOT NULL,
    error   text        NOT NULL DEFAULT '',
    PRIMARY KEY (time, task)
);

-- Watch sessions are found by when they began; a block-range index leaves updates of the row as cheap as they were.
CREATE INDEX watch_sessions_by_start ON watch_sessions USING brin (started) WITH (pages_per_range = 32, autosummarize = on);

-- How long rows are kept where no policy of TimescaleDB's does it: a table that comes later adds its own row.
CREATE TABLE retention_terms (
    table_name  text PRIMARY KEY,
    time_column text     NOT NULL DEFAULT 'time',
    keep        interval NOT NULL
);
INSERT INTO retention_terms (table_name, keep) VALUES
    ('deliveries_per_minute', '180 days'),
    ('monitor_runs', '30 days'),
    ('retrain_requests', '400 days');

CREATE OR REPLACE FUNCTION delete_expired_rows() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    term retention_terms;
BEGIN
    FOR term IN SELECT * FROM retention_terms ORDER BY table_name LOOP
        EXECUTE format('DELETE FROM %I WHERE %I < now() - $1', term.table_name, term.time_column) USING term.keep;
    END LOOP;
END
$$;
