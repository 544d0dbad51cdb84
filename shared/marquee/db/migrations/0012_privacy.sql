-- Users who are not to be known (docs/privacy.md): who asked to be forgotten, and who chose not to be profiled.

-- `version` grows with every change of the marks; writers compare it under a shared advisory lock. `key_id` identifies
-- the secret of the digests, null before the first mark.
CREATE TABLE privacy_state (
    singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    version   bigint NOT NULL DEFAULT 0,
    key_id    bytea
);
INSERT INTO privacy_state DEFAULT VALUES;

-- The digest is a keyed hash of the user id, so that the table names no user. A mark is kept for ever: Kafka, Pub/Sub
-- and dead letters may deliver an old record at any time.
CREATE TABLE privacy_marks (
    digest bytea       NOT NULL,
    mark   text        NOT NULL CHECK (mark IN ('forgotten', 'not-profiled')),
    since  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (digest, mark)
);

-- Records that were dropped because their user is marked, by position alone: rows + quarantine + dropped = records.
CREATE TABLE dropped_records (
    time      timestamptz NOT NULL DEFAULT now(),
    topic_key integer     NOT NULL,
    partition integer     NOT NULL,
    "offset"  bigint      NOT NULL,
    PRIMARY KEY (topic_key, partition, "offset")
);
CREATE INDEX dropped_records_by_time ON dropped_records (time DESC);
ALTER TABLE written_offsets ADD COLUMN dropped_records bigint NOT NULL DEFAULT 0;

-- The journal of `marquee privacy forget`. `user_id` is null once the request is finished; `done` maps a step to the
-- time at which it ended, `counts` a place to what was removed there; `plan` is what a step decided before it acted.
CREATE TABLE forget_requests (
    digest    bytea       PRIMARY KEY,
    user_id   text,
    requested timestamptz NOT NULL DEFAULT now(),
    finished  timestamptz,
    done      jsonb       NOT NULL DEFAULT '{}',
    counts    jsonb       NOT NULL DEFAULT '{}',
    plan      jsonb       NOT NULL DEFAULT '{}',
    receipt   text
);

-- These rows had no term before. Ratings have theirs in the files of each kind of database.
INSERT INTO retention_terms (table_name, time_column, keep) VALUES
    ('watch_sessions', 'ended', '1095 days'),
    ('forget_requests', 'finished', '1095 days');
INSERT INTO retention_terms (table_name, keep) VALUES
    ('accounts', '1095 days'),
    ('dropped_records', '180 days');

INSERT INTO role_grants (role_name, object, privileges)
SELECT role, name, 'SELECT'
FROM unnest(ARRAY['privacy_state', 'privacy_marks']) AS name,
     unnest(ARRAY['marquee_ingest', 'marquee_events', 'marquee_recommend', 'marquee_retrain', 'marquee_monitor']) AS role;
INSERT INTO role_grants (role_name, object, privileges) VALUES
    ('marquee_ingest', 'dropped_records', 'SELECT, INSERT'),
    ('marquee_events', 'dropped_records', 'SELECT, INSERT'),
    ('marquee_monitor', 'dropped_records', 'SELECT'),
    ('marquee_grafana', 'dropped_records', 'SELECT');
SELECT grant_privileges();
