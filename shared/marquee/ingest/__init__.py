"""Ingestion: parses delivered batches, writes rows, aggregates watch sessions, keeps the quarantine."""
