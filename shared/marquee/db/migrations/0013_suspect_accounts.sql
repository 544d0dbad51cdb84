-- New accounts that seem to attack a movie together (docs/safety.md). Training leaves out the events of those that are
-- not cleared; a person clears an account by setting `cleared`. log_p: log of the adjusted p-value of the check.
CREATE TABLE suspect_accounts (
    user_id  text        NOT NULL,
    movie_id text        NOT NULL,
    level    text        NOT NULL,
    time     timestamptz NOT NULL,
    log_p    double precision NOT NULL,
    cleared  timestamptz,
    PRIMARY KEY (user_id, movie_id)
);

-- A day longer than ratings: a suspect whose row is gone would be trained on again.
INSERT INTO retention_terms (table_name, keep)
SELECT 'suspect_accounts', '1096 days';

INSERT INTO role_grants (role_name, object, privileges) VALUES
    ('marquee_monitor', 'suspect_accounts', 'SELECT, INSERT'),
    ('marquee_retrain', 'suspect_accounts', 'SELECT'),
    ('marquee_grafana', 'suspect_accounts', 'SELECT');
SELECT grant_privileges();
