-- What the stream said. A row's identity is (stream, partition, "offset"): the place of its line in Kafka.
-- `time` ends each key because a hypertable's unique keys must hold it; it is a function of the line.

-- One incarnation of a topic: a topic made anew has another id, and its offsets begin at 0 again.
CREATE TABLE topics (
    topic_key   integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    topic    text NOT NULL,
    topic_id text NOT NULL UNIQUE
);

-- One minute of one movie, watched by one user. Kept for a few days only: `watch_sessions` holds what lasts.
CREATE TABLE watches (
    time      timestamptz NOT NULL,
    topic_key    integer     NOT NULL,
    partition integer     NOT NULL,
    "offset"  bigint      NOT NULL,
    user_id   text        NOT NULL,
    movie_id  text        NOT NULL,
    minute    integer     NOT NULL,
    PRIMARY KEY (topic_key, partition, "offset", time)
);

CREATE TABLE ratings (
    time      timestamptz NOT NULL,
    topic_key    integer     NOT NULL,
    partition integer     NOT NULL,
    "offset"  bigint      NOT NULL,
    user_id   text        NOT NULL,
    movie_id  text        NOT NULL,
    rating    smallint    NOT NULL,
    PRIMARY KEY (topic_key, partition, "offset", time)
);

-- How the service saw our answers. `result` is its own text where the status is not 200.
CREATE TABLE recommendation_requests (
    time        timestamptz NOT NULL,
    topic_key      integer     NOT NULL,
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

CREATE TABLE accounts (
    time      timestamptz NOT NULL,
    topic_key    integer     NOT NULL,
    partition integer     NOT NULL,
    "offset"  bigint      NOT NULL,
    user_id   text        NOT NULL,
    PRIMARY KEY (topic_key, partition, "offset", time)
);

-- Lines that could not be read, byte for byte. `time` is Kafka's, since theirs may be what is broken.
CREATE TABLE quarantine (
    time      timestamptz NOT NULL,
    topic_key    integer     NOT NULL,
    partition integer     NOT NULL,
    "offset"  bigint      NOT NULL,
    category  text        NOT NULL,
    detail    text        NOT NULL,
    raw       bytea       NOT NULL,
    PRIMARY KEY (topic_key, partition, "offset", time)
);

-- What reached `ingest` and is no event of ours, once each however often it is delivered.
CREATE TABLE rejected_events (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    received timestamptz NOT NULL DEFAULT now(),
    reason   text        NOT NULL,
    headers  jsonb       NOT NULL,
    body     bytea       NOT NULL,
    digest   bytea       NOT NULL UNIQUE
);

-- One user's watching of one movie, folded from its watch lines by least and greatest alone, so that
-- folding a line twice changes nothing. Room on each page lets most updates leave the index alone.
CREATE TABLE watch_sessions (
    user_id      text        NOT NULL,
    movie_id     text        NOT NULL,
    started      timestamptz NOT NULL,
    ended        timestamptz NOT NULL,
    first_minute integer     NOT NULL,
    last_minute  integer     NOT NULL,
    PRIMARY KEY (user_id, movie_id)
) WITH (fillfactor = 80);

-- What has been written of each partition, counted in the same transactions.
CREATE TABLE written_offsets (
    topic_key       integer     NOT NULL,
    partition    integer     NOT NULL,
    next_offset  bigint      NOT NULL,
    watches      bigint      NOT NULL,
    ratings      bigint      NOT NULL,
    recommendation_requests bigint NOT NULL,
    accounts     bigint      NOT NULL,
    quarantine   bigint      NOT NULL,
    updated      timestamptz NOT NULL,
    PRIMARY KEY (topic_key, partition)
) WITH (fillfactor = 50);

CREATE INDEX ratings_of_user ON ratings (user_id, time DESC);
CREATE INDEX ratings_by_time ON ratings (time DESC);
CREATE INDEX recommendation_requests_by_time ON recommendation_requests (time DESC);
CREATE INDEX accounts_by_time ON accounts (time DESC);
CREATE INDEX quarantine_by_time ON quarantine (time DESC);
