"""The database: connections, migrations, and queries on the tables, on PostgreSQL or TimescaleDB."""
