-- Outcomes of the app by hour (docs/app.md), so that panels need not read all outcomes of their time range.

-- Outcomes in the app by hour, arm, version and position in the list; a movie whose list is not stored has arm '' and
-- position 0, one without a propensity has arm ''. `weight` is the sum of the inverse propensities, `weight_opened` that
-- of the movies that were opened.
CREATE TABLE app_outcome_hours (
    time          timestamptz NOT NULL,
    arm           text        NOT NULL,
    model_version text        NOT NULL,
    position      integer     NOT NULL,
    seen          integer     NOT NULL,
    opened        integer     NOT NULL,
    played        integer     NOT NULL,
    weight        double precision NOT NULL,
    weight_opened double precision NOT NULL,
    PRIMARY KEY (time, arm, model_version, position)
);

-- Up to five users of each of these rows. So a group of rows has five users here if it has five or more users.
CREATE TABLE app_outcome_users (
    time          timestamptz NOT NULL,
    arm           text        NOT NULL,
    model_version text        NOT NULL,
    position      integer     NOT NULL,
    user_id       text        NOT NULL,
    PRIMARY KEY (time, arm, model_version, position, user_id)
);
CREATE INDEX app_outcome_users_by_user ON app_outcome_users (user_id);

-- Hours whose outcomes have changed since the monitor added them up.
CREATE TABLE app_outcome_changes (
    time timestamptz NOT NULL
);

CREATE FUNCTION note_outcome_hours() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF current_setting('marquee.expiring', true) = 'on' THEN
        RETURN NULL;
    END IF;
    IF TG_OP <> 'INSERT' THEN
        INSERT INTO public.app_outcome_changes
        SELECT DISTINCT date_bin(INTERVAL '1 hour', at, TIMESTAMPTZ '2000-01-03 00:00:00+00') FROM removed;
    END IF;
    IF TG_OP <> 'DELETE' THEN
        INSERT INTO public.app_outcome_changes
        SELECT DISTINCT date_bin(INTERVAL '1 hour', at, TIMESTAMPTZ '2000-01-03 00:00:00+00') FROM added;
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER note_inserted_hours AFTER INSERT ON app_outcomes
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION note_outcome_hours();
CREATE TRIGGER note_updated_hours AFTER UPDATE ON app_outcomes
    REFERENCING OLD TABLE AS removed NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION note_outcome_hours();
CREATE TRIGGER note_deleted_hours AFTER DELETE ON app_outcomes
    REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION note_outcome_hours();
INSERT INTO app_outcome_changes
SELECT DISTINCT date_bin(INTERVAL '1 hour', at, TIMESTAMPTZ '2000-01-03 00:00:00+00') FROM app_outcomes;

INSERT INTO retention_terms (table_name, keep) VALUES
    ('app_outcome_hours', '90 days'),
    ('app_outcome_users', '90 days'),
    ('app_outcome_changes', '90 days');

REVOKE EXECUTE ON FUNCTION note_outcome_hours() FROM PUBLIC;
INSERT INTO role_grants (role_name, object, privileges) VALUES
    ('marquee_monitor', 'app_outcome_hours', 'SELECT, INSERT, DELETE'),
    ('marquee_monitor', 'app_outcome_users', 'SELECT, INSERT, DELETE'),
    ('marquee_monitor', 'app_outcome_changes', 'SELECT, DELETE'),
    ('marquee_grafana', 'app_outcome_hours', 'SELECT'),
    ('marquee_grafana', 'app_outcome_users', 'SELECT');
SELECT grant_privileges();
