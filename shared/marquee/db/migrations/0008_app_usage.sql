-- Use of the app (docs/app.md). The monitor computes every row from the analytics events in MongoDB. Groups of fewer
-- than five users are left out, or have no numbers of users.

-- The outcome of each movie of each recommendation, as its user's device reported it: half of its poster was visible
-- for a second, its screen was opened, it was played, and played to the end. `position` counts from 1.
CREATE TABLE app_outcomes (
    recommendation_id text        NOT NULL,
    movie_id          text        NOT NULL,
    user_id           text        NOT NULL,
    position          integer,
    seen              boolean     NOT NULL,
    opened            boolean     NOT NULL,
    played            boolean     NOT NULL,
    finished          boolean     NOT NULL,
    at                timestamptz NOT NULL,
    PRIMARY KEY (recommendation_id, movie_id)
);
CREATE INDEX app_outcomes_by_time ON app_outcomes (at DESC);
CREATE INDEX app_outcomes_by_user ON app_outcomes (user_id);

-- Outcomes with arm, version, score and propensity of the impression: data for experiments and off-policy estimates.
CREATE VIEW app_list_outcomes AS
SELECT i.time, i.id AS recommendation_id, i.user_id, i.arm, i.model_version, i.release, i.tier, o.movie_id, f.position,
       (f.movie ->> 'score')::double precision AS score, (f.movie ->> 'propensity')::double precision AS propensity,
       o.seen, o.opened, o.played, o.finished
FROM app_outcomes AS o
JOIN impressions AS i ON i.id = o.recommendation_id AND i.user_id = o.user_id
CROSS JOIN LATERAL (
    SELECT movie, position::integer FROM jsonb_array_elements(i.movies) WITH ORDINALITY AS m (movie, position)
    WHERE movie ->> 'movie_id' = o.movie_id LIMIT 1
) AS f;

-- The day that begins at `time`, in UTC. lost: numbers of events that are missing in sessions.
CREATE TABLE app_days (
    time            timestamptz PRIMARY KEY,
    events          integer     NOT NULL,
    lost            integer     NOT NULL,
    users           integer,
    sessions        integer,
    failed_sessions integer
);

-- Users who came at least as far as the step in that day.
CREATE TABLE app_funnel (
    time  timestamptz NOT NULL,
    step  integer     NOT NULL,
    name  text        NOT NULL,
    users integer     NOT NULL,
    PRIMARY KEY (time, step)
);

-- Views of a screen in that day, with percentiles of their duration in seconds.
CREATE TABLE app_screens (
    time   timestamptz NOT NULL,
    screen text        NOT NULL,
    views  integer     NOT NULL,
    users  integer     NOT NULL,
    p50_s  double precision NOT NULL,
    p95_s  double precision NOT NULL,
    PRIMARY KEY (time, screen)
);

-- Users first seen in the week that begins at `time` who were there that many weeks later.
CREATE TABLE app_retention (
    time     timestamptz NOT NULL,
    weeks    integer     NOT NULL,
    users    integer     NOT NULL,
    computed timestamptz NOT NULL,
    PRIMARY KEY (time, weeks)
);

-- The time up to which the monitor has read the events of MongoDB, by their arrival; one row.
CREATE TABLE app_progress (
    name     text        PRIMARY KEY,
    received timestamptz NOT NULL
);

INSERT INTO retention_terms (table_name, time_column, keep) VALUES ('app_outcomes', 'at', '90 days');
INSERT INTO retention_terms (table_name, keep) VALUES
    ('app_days', '400 days'),
    ('app_funnel', '400 days'),
    ('app_screens', '400 days'),
    ('app_retention', '400 days');

INSERT INTO role_grants (role_name, object, privileges)
SELECT 'marquee_monitor', name, 'SELECT, INSERT, UPDATE, DELETE'
FROM unnest(ARRAY['app_outcomes', 'app_days', 'app_funnel', 'app_screens', 'app_retention', 'app_progress']) AS name;
INSERT INTO role_grants (role_name, object, privileges)
SELECT role, name, 'SELECT'
FROM unnest(ARRAY['app_outcomes', 'app_days', 'app_funnel', 'app_screens', 'app_retention', 'app_list_outcomes']) AS name,
     unnest(ARRAY['marquee_grafana', 'marquee_monitor']) AS role
ON CONFLICT (role_name, object) DO NOTHING;
SELECT grant_privileges();
