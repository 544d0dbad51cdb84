"""Scheduled work on the tables: aggregation of the remaining watches, deletion of expired rows."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from marquee.db import rollups, written_offsets
from marquee.db.pool import Database
from marquee.ingest import watch_sessions

_DEADLINE_MS = 600_000


def aggregate_remaining(database: Database) -> int:
    """Aggregate the watches that no later batch has aggregated; return the number of their offsets.

    As many partitions are processed in parallel as ``database`` may open connections.
    """
    with database.transaction() as cursor:
        cursor.execute("SELECT topic_key, partition FROM written_offsets WHERE unaggregated <> '{}' ORDER BY 1, 2")
        partitions = cursor.fetchall()
    with ThreadPoolExecutor(database.connections) as threads:
        return sum(threads.map(lambda key: _aggregate_partition(database, *key), partitions))


def _aggregate_partition(database: Database, topic_key: int, partition: int) -> int:
    with database.transaction(deadline_ms=_DEADLINE_MS) as cursor:
        remaining = written_offsets.claim_unaggregated(cursor, topic_key, partition)
        if remaining:
            watch_sessions.aggregate(cursor, topic_key, partition, remaining)
        return written_offsets.count_offsets(remaining)


def delete_expired_rows(database: Database) -> None:
    """Delete rows older than their term in ``retention_terms``; TimescaleDB's policies handle hypertables.

    Rows are rolled up before they can be deleted.
    """
    rollups.roll_up(database, budget_s=_DEADLINE_MS / 1000)
    with database.transaction(deadline_ms=_DEADLINE_MS) as cursor:
        cursor.execute("SELECT delete_expired_rows()")
