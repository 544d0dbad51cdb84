-- The tables hold ratings as whole numbers: multiples of the step of the rating scale. `marquee db migrate` replaces the
-- function by one of 0.5 for a service with half stars, as long as there are no ratings. A constant costs no query time.
CREATE FUNCTION rating_step() RETURNS integer LANGUAGE sql IMMUTABLE PARALLEL SAFE AS 'SELECT 1';
