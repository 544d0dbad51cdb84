-- Read-only role of Grafana. Runs once, when the database is created.
CREATE ROLE reader LOGIN PASSWORD 'reader';
GRANT pg_read_all_data TO reader;
