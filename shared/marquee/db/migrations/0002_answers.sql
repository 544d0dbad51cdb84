-- What Marquee itself did: the lists it served, the models it trained.

-- One list that `recommend` served; movies is [{"movie_id", "score", "rating", "propensity"}, ...], best first.
CREATE TABLE impressions (
    time          timestamptz NOT NULL,
    id            text        NOT NULL,
    user_id       text        NOT NULL,
    arm           text        NOT NULL,
    model_version text        NOT NULL,
    release       integer     NOT NULL,
    tier          text        NOT NULL,
    movies         jsonb       NOT NULL,
    PRIMARY KEY (id, time)
);
CREATE INDEX impressions_of_user ON impressions (user_id, time DESC);
CREATE INDEX impressions_by_time ON impressions (time DESC);

-- The movies of each impression, one a row; position counts from 1.
CREATE VIEW impression_movies AS
SELECT i.time, i.id, i.user_id, i.arm, i.model_version, i.release, i.tier,
       f.position::integer AS position,
       f.movie ->> 'movie_id' AS movie_id,
       (f.movie ->> 'score')::double precision AS score,
       (f.movie ->> 'rating')::double precision AS rating,
       (f.movie ->> 'propensity')::double precision AS propensity
FROM impressions i, jsonb_array_elements(i.movies) WITH ORDINALITY AS f (movie, position);

-- One run of `retrain`, whatever came of it. version is null where none was made.
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
