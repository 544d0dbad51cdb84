"""What is done by the clock: watch sessions that are still to be folded, raw rows past their terms."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from marquee.db import written_offsets
from marquee.db.pool import Database
from marquee.ingest import watch_sessions

_WITHIN_MS = 600_000


def aggregate_remaining(database: Database) -> int:
    """Fold the watches that no later batch has folded yet; returns of how many offsets.

    As many partitions at once as ``database`` may have connections.
    """
    with database.transaction() as cursor:
        cursor.execute(
            "SELECT topic_key, partition FROM written_offsets WHERE unaggregated <> '{}' ORDER BY 1, 2"
        )
        behind = cursor.fetchall()
    with ThreadPoolExecutor(database.connections) as threads:
        return sum(threads.map(lambda place: _fold(database, *place), behind))


def _fold(database: Database, topic_key: int, partition: int) -> int:
    with database.transaction(deadline_ms=_WITHIN_MS) as cursor:
        left = written_offsets.take_unaggregated(cursor, topic_key, partition)
        if left:
            watch_sessions.aggregate(cursor, topic_key, partition, left)
        return written_offsets.count_offsets(left)


def delete_expired_rows(database: Database) -> None:
    """Delete what is older than its term in ``retention_terms``; from hypertables TimescaleDB's own policies do it."""
    with database.transaction(deadline_ms=_WITHIN_MS) as cursor:
        cursor.execute("SELECT delete_expired_rows()")
