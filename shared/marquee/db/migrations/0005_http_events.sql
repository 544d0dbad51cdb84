-- Events over HTTP (docs/events.md): the kinds that only callers of the API report, and the ids of events.

-- The movies of an answer that the user has had on the screen.
CREATE TABLE impressions_shown (
    time              timestamptz NOT NULL,
    topic_key         integer     NOT NULL,
    partition         integer     NOT NULL,
    "offset"          bigint      NOT NULL,
    user_id           text        NOT NULL,
    recommendation_id text        NOT NULL,
    movie_ids         text[]      NOT NULL,
    PRIMARY KEY (topic_key, partition, "offset", time)
);
CREATE INDEX impressions_shown_by_time ON impressions_shown (time DESC);
CREATE INDEX impressions_shown_by_user ON impressions_shown (user_id, time DESC);

-- A movie of an answer that the user has opened.
CREATE TABLE clicks (
    time              timestamptz NOT NULL,
    topic_key         integer     NOT NULL,
    partition         integer     NOT NULL,
    "offset"          bigint      NOT NULL,
    user_id           text        NOT NULL,
    recommendation_id text        NOT NULL,
    movie_id          text        NOT NULL,
    PRIMARY KEY (topic_key, partition, "offset", time)
);
CREATE INDEX clicks_by_time ON clicks (time DESC);
CREATE INDEX clicks_by_user ON clicks (user_id, time DESC);

ALTER TABLE written_offsets
    ADD COLUMN impressions_shown bigint NOT NULL DEFAULT 0,
    ADD COLUMN clicks            bigint NOT NULL DEFAULT 0;

-- Events over HTTP have no position in Kafka. The key of an HTTP source is a topic `http/<source>`, whose offsets the
-- writer assigns. `id` is 16 bytes of the SHA-256 of the event's id: an event whose id is here is not written again.
CREATE TABLE event_ids (
    topic_key integer     NOT NULL,
    id        uuid        NOT NULL,
    received  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (topic_key, id)
);
CREATE INDEX event_ids_by_time ON event_ids USING brin (received) WITH (pages_per_range = 32, autosummarize = on);

INSERT INTO retention_terms (table_name, keep) VALUES ('impressions_shown', '180 days'), ('clicks', '180 days');
INSERT INTO retention_terms (table_name, time_column, keep) VALUES ('event_ids', 'received', '180 days');

INSERT INTO role_grants (role_name, object, privileges) VALUES
    ('marquee_ingest', 'impressions_shown', 'INSERT'),
    ('marquee_ingest', 'clicks', 'INSERT'),
    ('marquee_events', 'topics', 'SELECT, INSERT, UPDATE'),
    ('marquee_events', 'written_offsets', 'SELECT, INSERT, UPDATE'),
    ('marquee_events', 'deliveries_per_minute', 'SELECT, INSERT, UPDATE'),
    ('marquee_events', 'event_ids', 'SELECT, INSERT'),
    ('marquee_events', 'watches', 'SELECT, INSERT'),
    ('marquee_events', 'watch_sessions', 'SELECT, INSERT, UPDATE'),
    ('marquee_events', 'ratings', 'INSERT'),
    ('marquee_events', 'recommendation_requests', 'INSERT'),
    ('marquee_events', 'accounts', 'INSERT'),
    ('marquee_events', 'impressions_shown', 'INSERT'),
    ('marquee_events', 'clicks', 'INSERT'),
    ('marquee_events', 'quarantine', 'INSERT'),
    ('marquee_monitor', 'impressions_shown', 'SELECT'),
    ('marquee_monitor', 'clicks', 'SELECT'),
    ('marquee_grafana', 'impressions_shown', 'SELECT'),
    ('marquee_grafana', 'clicks', 'SELECT'),
    ('marquee_monitor', 'event_ids', 'SELECT'),
    ('marquee_retention', 'event_ids', 'SELECT');
SELECT grant_privileges();
