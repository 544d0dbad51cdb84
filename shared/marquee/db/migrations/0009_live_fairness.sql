-- Fairness of a day of live data that ends at `time`, by release and arm (docs/monitoring.md). Rows hold groups of users
-- and of movies, never single users; groups of users of fewer than 20 have no row.
-- metric 'rmse': of a group; of all users if kind = ''. 'rmse_gap': of a kind, between its worst and its best group.
-- 'unknown_share': users of whom the kind is not known. 'exposure_gini': inequality of exposure over all movies.
-- 'exposure_share': of a group of movies. sample: ratings or impressions of the day, from which users were sampled.
CREATE TABLE live_fairness (
    time          timestamptz NOT NULL,
    release       integer     NOT NULL,
    arm           text        NOT NULL,
    model_version text        NOT NULL,
    metric        text        NOT NULL,
    kind          text        NOT NULL,
    group_name    text        NOT NULL,
    sample        bigint      NOT NULL,
    users         integer     NOT NULL,
    value         double precision NOT NULL,
    low           double precision,
    high          double precision,
    PRIMARY KEY (time, release, arm, model_version, metric, kind, group_name)
);

INSERT INTO role_grants (role_name, object, privileges) VALUES
    ('marquee_monitor', 'live_fairness', 'SELECT, INSERT, UPDATE, DELETE'),
    ('marquee_grafana', 'live_fairness', 'SELECT');
SELECT grant_privileges();
