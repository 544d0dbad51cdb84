-- Displays and clicks that apps report, in the outcomes of impressions and of experiments.

-- The movies of an answer that a user has had on the screen, and whether they opened it: from events over HTTP and
-- JSON records, and from the analytics of the app. A click says that the movie was seen. A movie may have several rows.
CREATE VIEW reported_outcomes AS
SELECT time, user_id, recommendation_id, movie_id, true AS clicked FROM clicks
UNION ALL
SELECT time, user_id, recommendation_id, unnest(movie_ids), false FROM impressions_shown
UNION ALL
SELECT at, user_id, recommendation_id, movie_id, opened FROM app_outcomes WHERE seen OR opened;

-- Reported by an app; 0 where no app reports them.
ALTER TABLE impression_outcomes
    ADD COLUMN seen    integer NOT NULL DEFAULT 0,
    ADD COLUMN clicked integer NOT NULL DEFAULT 0;

-- Movies of the hour's lists that the user clicked within the window.
ALTER TABLE experiment_hours ADD COLUMN clicked integer NOT NULL DEFAULT 0;

INSERT INTO role_grants (role_name, object, privileges) VALUES
    ('marquee_monitor', 'reported_outcomes', 'SELECT'),
    ('marquee_grafana', 'reported_outcomes', 'SELECT');
SELECT grant_privileges();
