-- Columns of an impression that experiments and replays need; null in rows of earlier programs. In `movies`
-- each movie also has its rank without exploration and its first reason.

ALTER TABLE impressions
    ADD COLUMN explored boolean,   -- the whole list was drawn uniformly from the eligible movies
    ADD COLUMN eligible integer,   -- number of movies that could have been shown
    ADD COLUMN policy   integer,   -- release that introduced the arm's policy; 0: none
    ADD COLUMN notes    text[],    -- unavailable services and the like (docs/recommend.md)
    ADD COLUMN page     smallint,  -- of the list, from 1
    ADD COLUMN took_ms  real;      -- time that the answer took

CREATE OR REPLACE VIEW impression_movies AS
SELECT i.time, i.id, i.user_id, i.arm, i.model_version, i.release, i.tier,
       f.position::integer AS position,
       f.movie ->> 'movie_id' AS movie_id,
       (f.movie ->> 'score')::double precision AS score,
       (f.movie ->> 'rating')::double precision AS rating,
       (f.movie ->> 'propensity')::double precision AS propensity,
       (f.movie ->> 'rank')::integer AS rank,
       f.movie ->> 'reason' AS reason
FROM impressions i, jsonb_array_elements(i.movies) WITH ORDINALITY AS f (movie, position);
