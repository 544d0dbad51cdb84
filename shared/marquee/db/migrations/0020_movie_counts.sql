-- Counts for the search for suspect accounts (docs/monitoring.md), so that it does not read months of events. Triggers
-- keep them exact, late and deleted rows included; rows that expire are older than the counts.

-- Ratings of a movie by value over 30 days, and watch sessions by the day of their start, older ones over 30 days. As in
-- the rollups, a trigger appends parts (`is_new`), merge_movie_counts merges them, and readers add them up. They read all
-- rows, so that an index would only cost.
CREATE TABLE movie_rating_counts (
    time     timestamptz NOT NULL,
    movie_id text        NOT NULL,
    rating   smallint    NOT NULL,
    ratings  integer     NOT NULL,
    is_new   boolean     NOT NULL DEFAULT true
);
CREATE TABLE movie_session_counts (
    time     timestamptz NOT NULL,
    movie_id text        NOT NULL,
    sessions integer     NOT NULL,
    is_new   boolean     NOT NULL DEFAULT true
);

-- Accounts that had no earlier event when an event of theirs arrived, with its time: a superset of those without events
-- before a later time. A user may have several rows; a unique key would make writers wait for each other.
CREATE TABLE new_accounts (
    user_id text        NOT NULL,
    time    timestamptz NOT NULL
);

-- A scalar subquery is one index lookup for each account, whatever the planner believes of rows that were just written.
CREATE FUNCTION count_movie_ratings() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
BEGIN
    INSERT INTO public.movie_rating_counts
    SELECT date_bin(INTERVAL '30 days', time, TIMESTAMPTZ '2000-01-03 00:00:00+00'), movie_id, rating, count(*)
    FROM added GROUP BY 1, 2, 3;
    INSERT INTO public.new_accounts
    SELECT user_id, time FROM (SELECT user_id, min(time) AS time FROM added GROUP BY user_id) AS a
    WHERE (SELECT true FROM public.ratings AS r WHERE r.user_id = a.user_id AND r.time < a.time LIMIT 1) IS NULL;
    RETURN NULL;
END
$$;
CREATE FUNCTION discount_movie_ratings() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF current_setting('marquee.expiring', true) = 'on' THEN
        RETURN NULL;
    END IF;
    INSERT INTO public.movie_rating_counts
    SELECT date_bin(INTERVAL '30 days', time, TIMESTAMPTZ '2000-01-03 00:00:00+00'), movie_id, rating, -count(*)
    FROM removed GROUP BY 1, 2, 3;
    RETURN NULL;
END
$$;
CREATE FUNCTION count_movie_sessions() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
BEGIN
    INSERT INTO public.movie_session_counts
    SELECT date_bin(INTERVAL '1 day', started, TIMESTAMPTZ '2000-01-03 00:00:00+00'), movie_id, count(*)
    FROM added GROUP BY 1, 2;
    INSERT INTO public.new_accounts
    SELECT user_id, time FROM (SELECT user_id, min(started) AS time FROM added GROUP BY user_id) AS a
    WHERE (SELECT true FROM public.watch_sessions AS s
           WHERE s.user_id = a.user_id AND s.started < a.time LIMIT 1) IS NULL
      AND (SELECT true FROM public.ratings AS r WHERE r.user_id = a.user_id AND r.time < a.time LIMIT 1) IS NULL;
    RETURN NULL;
END
$$;
CREATE FUNCTION discount_movie_sessions() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF current_setting('marquee.expiring', true) = 'on' THEN
        RETURN NULL;
    END IF;
    INSERT INTO public.movie_session_counts
    SELECT date_bin(INTERVAL '1 day', started, TIMESTAMPTZ '2000-01-03 00:00:00+00'), movie_id, -count(*)
    FROM removed GROUP BY 1, 2;
    RETURN NULL;
END
$$;
CREATE FUNCTION move_movie_session() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO public.movie_session_counts
    SELECT date_bin(INTERVAL '1 day', started, TIMESTAMPTZ '2000-01-03 00:00:00+00'), movie_id, sessions
    FROM (VALUES (OLD.started, OLD.movie_id, -1), (NEW.started, NEW.movie_id, 1)) AS moved (started, movie_id, sessions);
    RETURN NULL;
END
$$;
CREATE TRIGGER count_movies AFTER INSERT ON ratings
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION count_movie_ratings();
CREATE TRIGGER discount_movies AFTER DELETE ON ratings
    REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION discount_movie_ratings();
CREATE TRIGGER count_movies AFTER INSERT ON watch_sessions
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION count_movie_sessions();
CREATE TRIGGER discount_movies AFTER DELETE ON watch_sessions
    REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION discount_movie_sessions();
CREATE TRIGGER move_movie AFTER UPDATE OF started ON watch_sessions FOR EACH ROW
    WHEN (NEW.started <> OLD.started) EXECUTE FUNCTION move_movie_session();

-- Merge the parts by their key, and days of sessions before `old` to 30 days. It may be killed and repeated; the sums stay
-- the same. The last week's days stay whatever `old` is, because the search reads them.
CREATE FUNCTION merge_movie_counts(old timestamptz) RETURNS void LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    name   text;
    keys   text;
    n      text;
    bucket text := format('CASE WHEN time < %L THEN date_bin(INTERVAL %L, time, TIMESTAMPTZ %L) ELSE time END',
                          least(old, now() - INTERVAL '9 days'), '30 days', '2000-01-03 00:00:00+00');
BEGIN
    -- One at a time; released with the transaction.
    PERFORM pg_advisory_xact_lock(hashtext('merge_movie_counts'));
    FOR name, keys, n IN VALUES
        ('movie_rating_counts', 'movie_id, rating', 'ratings'),
        ('movie_session_counts', 'movie_id', 'sessions')
    LOOP
        EXECUTE format(
            'WITH added AS (DELETE FROM public.%1$I WHERE is_new OR time <> %4$s
                            RETURNING %4$s AS time, %2$s, %3$I),
                  earlier AS (DELETE FROM public.%1$I WHERE NOT is_new AND time = %4$s
                              AND (time, %2$s) IN (SELECT time, %2$s FROM added) RETURNING time, %2$s, %3$I)
             INSERT INTO public.%1$I SELECT time, %2$s, sum(%3$I), false
             FROM (TABLE added UNION ALL TABLE earlier) AS parts GROUP BY time, %2$s HAVING sum(%3$I) <> 0',
            name, keys, n, bucket);
    END LOOP;
END
$$;

-- The rows of before: eight months, of which the search reads six.
INSERT INTO movie_rating_counts
SELECT date_bin(INTERVAL '30 days', time, TIMESTAMPTZ '2000-01-03 00:00:00+00'), movie_id, rating, count(*), false
FROM ratings WHERE time >= now() - INTERVAL '240 days' GROUP BY 1, 2, 3;
INSERT INTO movie_session_counts
SELECT date_bin(INTERVAL '1 day', started, TIMESTAMPTZ '2000-01-03 00:00:00+00'), movie_id, count(*), false
FROM watch_sessions WHERE started >= now() - INTERVAL '240 days' GROUP BY 1, 2;
INSERT INTO new_accounts
SELECT user_id, min(time)
FROM (SELECT user_id, time FROM ratings WHERE time >= now() - INTERVAL '15 days'
      UNION ALL
      SELECT user_id, started FROM watch_sessions WHERE started >= now() - INTERVAL '15 days') AS events
GROUP BY user_id;

INSERT INTO retention_terms (table_name, keep) VALUES
    ('movie_rating_counts', '240 days'),
    ('movie_session_counts', '240 days'),
    ('new_accounts', '15 days');

REVOKE EXECUTE ON FUNCTION count_movie_ratings(), discount_movie_ratings(), count_movie_sessions(),
    discount_movie_sessions(), move_movie_session(), merge_movie_counts(timestamptz) FROM PUBLIC;
INSERT INTO role_grants (role_name, object, privileges) VALUES
    ('marquee_monitor', 'movie_rating_counts', 'SELECT'),
    ('marquee_monitor', 'movie_session_counts', 'SELECT'),
    ('marquee_monitor', 'new_accounts', 'SELECT'),
    ('marquee_monitor', 'FUNCTION merge_movie_counts(timestamptz)', 'EXECUTE');
SELECT grant_privileges();
