"""The fold of watch lines into watch sessions: incremental, and idempotent by least and greatest.

A customer who watches sends a line a minute, so one batch holds few lines of one watch session. While the stream is
followed closely that hardly matters: each batch is folded as it is written. When many lines are behind, they are
folded together, one update a watch session for many of its lines: an update costs several times what a line does.
"""

from __future__ import annotations

from typing import Any

from marquee.db.written_offsets import Ranges, WrittenOffsets, count_offsets, union

# A batch of fewer lines says that the bridge keeps up with the stream.
SMALL_BATCH = 2_000
MAX_UNAGGREGATED = 1_000_000
MAX_UNAGGREGATED_S = 20.0

# The planner may know nothing yet of rows that were written a moment ago. The lines go through a hash table of their
# watch sessions, which costs half of what sorting them does; only the watch sessions are sorted, byte by byte.
_PLAN = "SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off; SET LOCAL work_mem = '64MB'"

_FOLD = """
INSERT INTO watch_sessions AS old (user_id, movie_id, started, ended, first_minute, last_minute)
SELECT user_id, movie_id, min(time), max(time), min(minute), max(minute)
FROM watches WHERE topic_key = %s AND partition = %s AND ({spans})
GROUP BY user_id, movie_id ORDER BY user_id COLLATE "C", movie_id COLLATE "C"
ON CONFLICT (user_id, movie_id) DO UPDATE SET
    started = least(old.started, excluded.started),
    ended = greatest(old.ended, excluded.ended),
    first_minute = least(old.first_minute, excluded.first_minute),
    last_minute = greatest(old.last_minute, excluded.last_minute)
WHERE excluded.started < old.started OR excluded.ended > old.ended
   OR excluded.first_minute < old.first_minute OR excluded.last_minute > old.last_minute"""


def aggregate_when_due(cursor: Any, entry: WrittenOffsets, lines: int, watches: int) -> Ranges:
    """Fold the batch of ``entry`` and what was left before it, or leave it for later; returns what is left."""
    left = union(entry.unaggregated, entry.first, entry.after) if watches else entry.unaggregated
    small, long = lines < SMALL_BATCH, entry.unaggregated_s > MAX_UNAGGREGATED_S
    if left and (small or long or count_offsets(left) > MAX_UNAGGREGATED):
        aggregate(cursor, entry.topic_key, entry.partition, left)
        return ()
    return left


def aggregate(cursor: Any, topic_key: int, partition: int, ranges: Ranges) -> None:
    """Fold the watches of these offsets into their watch sessions."""
    spans = " OR ".join(f'("offset" >= {first:d} AND "offset" < {after:d})' for first, after in ranges)
    cursor.execute(_PLAN)
    cursor.execute(_FOLD.format(spans=spans), (topic_key, partition))
