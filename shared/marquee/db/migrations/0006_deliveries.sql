-- How the stream arrives, minute by minute (the writer's clock), counted in the transactions that write it. `redelivered`:
-- lines that were known already, so how much is delivered more than once. `lag_ms_max`: the longest that a line was
-- old when it was written, by Kafka's time; null where Kafka has none.
CREATE TABLE deliveries_per_minute (
    time            timestamptz NOT NULL,
    topic_key          integer     NOT NULL,
    partition       integer     NOT NULL,
    batches         bigint      NOT NULL,
    records           bigint      NOT NULL,
    redelivered           bigint      NOT NULL,
    batch_records_max bigint      NOT NULL,
    lag_ms_max      bigint,
    PRIMARY KEY (topic_key, partition, time)
) WITH (fillfactor = 50);
CREATE INDEX deliveries_per_minute_by_time ON deliveries_per_minute (time DESC);
