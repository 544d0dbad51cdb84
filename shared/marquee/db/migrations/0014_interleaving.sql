-- Interleaved lists of an experiment (docs/experiments.md). drafted: lists of the hour that were drafted from both arms,
-- each the user's first in 30 minutes, whose window was over when the row was computed. begun_old, begun_new: movies of
-- control's and of the new arm's team in these lists that the user began or rated within the window.

ALTER TABLE experiment_hours
    ADD COLUMN drafted   integer NOT NULL DEFAULT 0,
    ADD COLUMN begun_old integer NOT NULL DEFAULT 0,
    ADD COLUMN begun_new integer NOT NULL DEFAULT 0;

-- team: of an interleaved list, 0 for control and 1 for the new arm; null in other lists.
CREATE OR REPLACE VIEW impression_movies AS
SELECT i.time, i.id, i.user_id, i.arm, i.model_version, i.release, i.tier,
       f.position::integer AS position,
       f.movie ->> 'movie_id' AS movie_id,
       (f.movie ->> 'score')::double precision AS score,
       (f.movie ->> 'rating')::double precision AS rating,
       (f.movie ->> 'propensity')::double precision AS propensity,
       (f.movie ->> 'rank')::integer AS rank,
       f.movie ->> 'reason' AS reason,
       nullif(substr(i.inputs ->> 'teams', f.position::integer, 1), '')::smallint AS team
FROM impressions i, jsonb_array_elements(i.movies) WITH ORDINALITY AS f (movie, position);
