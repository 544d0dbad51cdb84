-- Hours of an experiment by the whole days since a user's first request, added up over the users of an arm, so that a
-- panel need not read all their hours. The monitor replaces the rows of an hour whenever it computes the hour.
-- shown: lists, or drafted lists where there are more; the other columns are sums of those of experiment_hours.
CREATE TABLE experiment_days (
    time       timestamptz NOT NULL,
    experiment text        NOT NULL,
    arm        text        NOT NULL,
    day        integer     NOT NULL,
    shown      bigint      NOT NULL,
    lists      bigint      NOT NULL,
    watched    bigint      NOT NULL,
    drafted    bigint      NOT NULL,
    begun_old  bigint      NOT NULL,
    begun_new  bigint      NOT NULL,
    PRIMARY KEY (experiment, time, arm, day)
);
INSERT INTO experiment_days
SELECT h.time, h.experiment, h.arm, greatest(floor(extract(epoch FROM h.time - e.first_asked) / 86400), 0),
       sum(greatest(lists, drafted)), sum(lists), sum(watched), sum(drafted), sum(begun_old), sum(begun_new)
FROM experiment_hours AS h JOIN experiment_users AS e USING (experiment, user_id) GROUP BY 1, 2, 3, 4;

INSERT INTO retention_terms (table_name, keep) VALUES ('experiment_days', '180 days');
INSERT INTO role_grants (role_name, object, privileges) VALUES
    ('marquee_monitor', 'experiment_days', 'SELECT, INSERT, DELETE'),
    ('marquee_grafana', 'experiment_days', 'SELECT');
SELECT grant_privileges();
