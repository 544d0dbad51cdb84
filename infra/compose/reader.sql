-- Grafana's role: it may read everything and change nothing. Run once, when the database is made.
CREATE ROLE reader LOGIN PASSWORD 'reader';
GRANT pg_read_all_data TO reader;
