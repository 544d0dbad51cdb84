-- The app reads and changes the marks of accounts that must not be profiled, and nothing else of the database.
INSERT INTO role_grants (role_name, object, privileges) VALUES
    ('marquee_app', 'privacy_state', 'SELECT, UPDATE'),
    ('marquee_app', 'privacy_marks', 'SELECT, INSERT, DELETE');
SELECT grant_privileges();
