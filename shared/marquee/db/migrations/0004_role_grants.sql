-- One role for each part, with the least that it needs (docs/operations.md). The roles have no login: an administrator
-- makes one for each part that is a member of the part's role. The owner of the tables needs none of this.

-- The privileges of the roles. A new table adds its own rows, and calls grant_privileges() again.
CREATE TABLE role_grants (
    role_name  text,
    object     text,
    privileges text NOT NULL,
    PRIMARY KEY (role_name, object)
);

-- `object` is what follows ON in GRANT.
INSERT INTO role_grants (role_name, object, privileges) VALUES
    ('marquee_ingest', 'topics', 'SELECT, INSERT, UPDATE'),
    ('marquee_ingest', 'written_offsets', 'SELECT, INSERT, UPDATE'),
    ('marquee_ingest', 'deliveries_per_minute', 'SELECT, INSERT, UPDATE'),
    ('marquee_ingest', 'watches', 'SELECT, INSERT'),
    ('marquee_ingest', 'watch_sessions', 'SELECT, INSERT, UPDATE'),
    ('marquee_ingest', 'ratings', 'INSERT'),
    ('marquee_ingest', 'recommendation_requests', 'INSERT'),
    ('marquee_ingest', 'accounts', 'INSERT'),
    ('marquee_ingest', 'quarantine', 'INSERT'),
    ('marquee_ingest', 'impressions', 'INSERT'),
    ('marquee_ingest', 'rejected_events', 'INSERT, SELECT (digest)'),  -- ON CONFLICT (digest) reads the digest.
    ('marquee_recommend', 'watches', 'SELECT'),
    ('marquee_recommend', 'watch_sessions', 'SELECT'),
    ('marquee_recommend', 'ratings', 'SELECT'),
    ('marquee_recommend', 'popular_movies', 'SELECT'),
    ('marquee_recommend', 'popularity_progress', 'SELECT'),
    ('marquee_monitor', 'predictions', 'INSERT, UPDATE'),
    ('marquee_monitor', 'live_accuracy', 'INSERT, UPDATE'),
    ('marquee_monitor', 'impression_outcomes', 'INSERT, UPDATE, DELETE'),
    ('marquee_monitor', 'attribution_queue', 'UPDATE, DELETE'),  -- FOR UPDATE needs UPDATE.
    ('marquee_monitor', 'attributed_events', 'INSERT, UPDATE, DELETE'),
    ('marquee_monitor', 'availability', 'INSERT, UPDATE'),
    ('marquee_monitor', 'quality_checks', 'INSERT, UPDATE'),
    ('marquee_monitor', 'monitor_runs', 'INSERT, UPDATE'),
    ('marquee_monitor', 'popular_movies', 'INSERT, UPDATE, DELETE'),
    ('marquee_monitor', 'popularity_progress', 'INSERT, UPDATE'),
    ('marquee_monitor', 'retrain_requests', 'INSERT'),
    ('marquee_monitor', 'FUNCTION roll_up_records(bigint)', 'EXECUTE'),
    ('marquee_retrain', 'ratings', 'SELECT'),
    ('marquee_retrain', 'watch_sessions', 'SELECT'),
    ('marquee_retrain', 'retrain_runs', 'SELECT, INSERT, UPDATE'),
    ('marquee_retrain', 'retrain_requests', 'SELECT, UPDATE (claimed, run)'),
    ('marquee_retention', 'written_offsets', 'SELECT, UPDATE'),
    ('marquee_retention', 'watches', 'SELECT'),
    ('marquee_retention', 'watch_sessions', 'SELECT, INSERT, UPDATE'),
    ('marquee_retention', 'FUNCTION roll_up_records(bigint)', 'EXECUTE'),
    ('marquee_retention', 'FUNCTION delete_expired_rows()', 'EXECUTE');

-- The monitor reads every table and view of the data. Grafana reads those of panels and alerts.
INSERT INTO role_grants (role_name, object, privileges)
SELECT 'marquee_monitor', name, 'SELECT' FROM unnest(ARRAY[
    'topics', 'written_offsets', 'deliveries_per_minute', 'watches', 'watch_sessions', 'ratings',
    'recommendation_requests', 'accounts', 'quarantine', 'impressions', 'impression_movies', 'rejected_events',
    'retrain_runs', 'retrain_requests', 'predictions', 'live_accuracy', 'impression_outcomes', 'attribution_queue',
    'attributed_events', 'availability', 'quality_checks', 'monitor_runs', 'popular_movies', 'popularity_progress',
    'records_per_minute', 'watches_per_minute', 'ratings_per_minute', 'recommendation_requests_per_minute',
    'quarantine_per_minute', 'impressions_per_minute', 'movie_watches_per_hour', 'movie_ratings_per_day']) AS name
ON CONFLICT (role_name, object) DO UPDATE SET privileges = 'SELECT, ' || role_grants.privileges;
INSERT INTO role_grants (role_name, object, privileges)
SELECT 'marquee_grafana', name, 'SELECT' FROM unnest(ARRAY[
    'topics', 'written_offsets', 'deliveries_per_minute', 'watches', 'ratings', 'recommendation_requests', 'quarantine',
    'impressions', 'impression_movies', 'rejected_events', 'retrain_runs', 'retrain_requests', 'predictions',
    'live_accuracy', 'impression_outcomes', 'availability', 'quality_checks', 'monitor_runs',
    'records_per_minute', 'watches_per_minute', 'ratings_per_minute', 'recommendation_requests_per_minute',
    'quarantine_per_minute', 'impressions_per_minute', 'movie_watches_per_hour', 'movie_ratings_per_day']) AS name;

-- Create the roles that are missing, and grant what role_grants lists. Roles belong to the cluster and not to the
-- database, so another database may create one at the same time. A login without CREATEROLE leaves out the roles that
-- do not exist: an administrator creates them, and the owner calls this function again.
CREATE FUNCTION grant_privileges() RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    missing text;
    granted role_grants;
BEGIN
    FOR missing IN SELECT DISTINCT role_name FROM role_grants
                   WHERE role_name NOT IN (SELECT rolname FROM pg_roles) ORDER BY 1 LOOP
        BEGIN
            EXECUTE format('CREATE ROLE %I NOLOGIN', missing);
        EXCEPTION
            WHEN duplicate_object OR unique_violation THEN
                NULL;
            WHEN insufficient_privilege THEN
                RAISE NOTICE 'role % is missing and % may not create roles: create it, then SELECT grant_privileges()',
                    missing, current_user;
        END;
    END LOOP;
    FOR granted IN SELECT * FROM role_grants WHERE role_name IN (SELECT rolname FROM pg_roles) ORDER BY 1, 2 LOOP
        EXECUTE format('GRANT %s ON %s TO %I', granted.privileges, granted.object, granted.role_name);
    END LOOP;
END
$$;

-- Runs as its owner, so that `retention` needs no privilege to delete. Only the owner writes retention_terms.
ALTER FUNCTION delete_expired_rows() SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp;

REVOKE CREATE ON SCHEMA public FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION grant_privileges(), delete_expired_rows(), roll_up_records(bigint), queue_impression(),
    queue_rating(), queue_watch_session() FROM PUBLIC;

SELECT grant_privileges();
