"""What is known of the stream, in PostgreSQL or TimescaleDB."""
