"""Incremental aggregation of watches into watch sessions, idempotent by minimum and maximum.

A user who watches sends one record a minute, so a batch holds few records of each session. While the
bridge keeps up with the log, each batch is aggregated as it is written. During a backlog, the watches of
many batches are aggregated together, with one update per session: an update costs several times as much
as an insert.
"""

from __future__ import annotations

from typing import Any

from marquee.db.written_offsets import OffsetRanges, WrittenOffsets, count_offsets, union

# A batch of fewer records means that the bridge keeps up with the log.
SMALL_BATCH = 2_000
MAX_UNAGGREGATED = 1_000_000
MAX_UNAGGREGATED_S = 20.0

# The planner has no statistics of rows that were just written. A hash aggregate of the sessions costs half as much
# as sorting the watches; only the sessions are sorted, by byte order.
_PLANNER_SETTINGS = "SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off; SET LOCAL work_mem = '64MB'"

_AGGREGATE = """
INSERT INTO watch_sessions AS old (user_id, movie_id, started, ended, first_minute, last_minute)
SELECT user_id, movie_id, min(time), max(time), min(minute), max(minute)
FROM watches WHERE topic_key = %s AND partition = %s AND ({ranges})
GROUP BY user_id, movie_id ORDER BY user_id COLLATE "C", movie_id COLLATE "C"
ON CONFLICT (user_id, movie_id) DO UPDATE SET
    started = least(old.started, excluded.started),
    ended = greatest(old.ended, excluded.ended),
    first_minute = least(old.first_minute, excluded.first_minute),
    last_minute = greatest(old.last_minute, excluded.last_minute)
WHERE excluded.started < old.started OR excluded.ended > old.ended
   OR excluded.first_minute < old.first_minute OR excluded.last_minute > old.last_minute"""


def aggregate_when_due(cursor: Any, entry: WrittenOffsets, records: int, watches: int) -> OffsetRanges:
    """Aggregate the batch of ``entry`` and earlier unaggregated offsets, or postpone them.

    ``records`` is the size of the batch, ``watches`` the number of its new watches. Returns the offsets
    that remain unaggregated.
    """
    remaining = union(entry.unaggregated, entry.first, entry.after) if watches else entry.unaggregated
    small, overdue = records < SMALL_BATCH, entry.unaggregated_s > MAX_UNAGGREGATED_S
    if remaining and (small or overdue or count_offsets(remaining) > MAX_UNAGGREGATED):
        aggregate(cursor, entry.topic_key, entry.partition, remaining)
        return ()
    return remaining


def aggregate(cursor: Any, topic_key: int, partition: int, ranges: OffsetRanges) -> None:
    """Aggregate the watches of these offsets into their watch sessions."""
    condition = " OR ".join(f'("offset" >= {first:d} AND "offset" < {after:d})' for first, after in ranges)
    cursor.execute(_PLANNER_SETTINGS)
    cursor.execute(_AGGREGATE.format(ranges=condition), (topic_key, partition))
