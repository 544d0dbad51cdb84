-- Popularity of movies, kept by the monitor from what is new (docs/monitoring.md). `recommend` reads it where there is
-- no release: counting all watches would take longer than a caller waits.

-- log_score is log2(sum of weight * 2^(time / 7 days)) over a movie's ratings and watched minutes, with times from the
-- epoch. It needs no update as time passes: the order of two movies changes only with new records. Movies far below the
-- most popular are deleted.
CREATE TABLE popular_movies (
    movie_id  text             PRIMARY KEY,
    log_score double precision NOT NULL
) WITH (fillfactor = 80);

-- The offset up to which the records of a partition were counted, and the time of the newest of them.
CREATE TABLE popularity_progress (
    source      text        NOT NULL CHECK (source IN ('watches', 'ratings')),
    topic_key   integer     NOT NULL,
    partition   integer     NOT NULL,
    next_offset bigint      NOT NULL,
    newest      timestamptz NOT NULL,
    PRIMARY KEY (source, topic_key, partition)
) WITH (fillfactor = 50);
