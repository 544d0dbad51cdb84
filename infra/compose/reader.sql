-- Login of Grafana. Runs once, when the database is created. The first migration of roles grants its group what panels
-- and alerts read.
DO $$
BEGIN
    CREATE ROLE marquee_grafana NOLOGIN;
EXCEPTION
    WHEN duplicate_object THEN NULL;
END
$$;
CREATE ROLE reader LOGIN PASSWORD 'reader' IN ROLE marquee_grafana;
