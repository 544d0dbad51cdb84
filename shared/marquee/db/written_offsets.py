"""What has been written of each partition: ranges of offsets, kept in the transactions that write the rows.

A writer holds its partition's entry from its first statement to its commit, so that of two that bring the same
lines the second sees what the first has done. An entry is a function of offsets alone: a line that comes again
is known even if it would be read differently by now, or if its row was replayed or forgotten.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from marquee.events.batches import Record, StreamBatch

Ranges = tuple[tuple[int, int], ...]
"""Offsets, each range from its first to one after its last."""

_ENTRY = """
SELECT topic_key, written * int8multirange(int8range(%(first)s, %(after)s)), unaggregated,
       extract(epoch FROM clock_timestamp() - aggregated_at)::float8
FROM written_offsets
WHERE topic_key = (SELECT topic_key FROM topics WHERE topic_id = %(topic_id)s) AND partition = %(partition)s
FOR UPDATE"""

# The update changes nothing: it is there so that the row is returned, whoever made it.
_NEW_ENTRY = """
WITH known AS (
    INSERT INTO topics (topic, topic_id) VALUES (%(topic)s, %(topic_id)s)
    ON CONFLICT (topic_id) DO UPDATE SET topic = excluded.topic RETURNING topic_key
)
INSERT INTO written_offsets (topic_key, partition, next_offset, watches, ratings, recommendation_requests, accounts,
                      quarantine, updated)
SELECT topic_key, %(partition)s, 0, 0, 0, 0, 0, 0, clock_timestamp() FROM known
ON CONFLICT DO NOTHING"""

_NOTE = """
UPDATE written_offsets SET
    next_offset = greatest(next_offset, %(after)s),
    watches = watches + %(watches)s,
    ratings = ratings + %(ratings)s,
    recommendation_requests = recommendation_requests + %(recommendation_requests)s,
    accounts = accounts + %(accounts)s,
    quarantine = quarantine + %(quarantine)s,
    written = written + %(covered)s::int8multirange,
    unaggregated = %(unaggregated)s::int8multirange,
    aggregated_at = CASE WHEN %(unaggregated)s = '{}' THEN clock_timestamp() ELSE aggregated_at END,
    updated = clock_timestamp()
WHERE topic_key = %(topic_key)s AND partition = %(partition)s"""

_DELIVERY = """
INSERT INTO deliveries_per_minute AS old (time, topic_key, partition, batches, records, redelivered, batch_records_max, lag_ms_max)
VALUES (date_trunc('minute', clock_timestamp()), %(topic_key)s, %(partition)s, 1, %(records)s, %(redelivered)s, %(records)s,
        CASE WHEN %(oldest_ms)s >= 0
             THEN greatest(0, extract(epoch FROM clock_timestamp()) * 1000 - %(oldest_ms)s)::bigint END)
ON CONFLICT (topic_key, partition, time) DO UPDATE SET
    batches = old.batches + 1,
    records = old.records + excluded.records,
    redelivered = old.redelivered + excluded.redelivered,
    batch_records_max = greatest(old.batch_records_max, excluded.batch_records_max),
    lag_ms_max = greatest(old.lag_ms_max, excluded.lag_ms_max)"""

_ranges = re.compile(r"\[(\d+),(\d+)\)").findall


@dataclass(frozen=True, slots=True)
class WrittenOffsets:
    """What a partition's entry says about one batch. ``covered``: the offsets that the batch answers for;
    ``written``: those from its ``first`` to before ``after`` that are known.
    """

    topic_key: int
    partition: int
    first: int
    after: int
    covered: Ranges
    written: Ranges
    unaggregated: Ranges
    unaggregated_s: float

    def new(self, records: Sequence[Record]) -> list[Record]:
        """Those that have not been written yet."""
        # By its place in here: the known range that begins last before it is the only one that may hold it.
        firsts = [first for first, _ in self.written]
        ends = [0, *(after for _, after in self.written)]
        return [record for record in records if record.offset >= ends[bisect_right(firsts, record.offset)]]


def load_for_batch(cursor: Any, batch: StreamBatch) -> WrittenOffsets:
    """The entry of the batch's partition, held until the transaction ends; made if there is none."""
    first, after = batch.records[0].offset, batch.records[-1].offset + 1
    place = {
        "topic": batch.topic,
        "topic_id": batch.topic_id,
        "partition": batch.partition,
        "first": first,
        "after": after,
    }
    cursor.execute(_ENTRY, place)
    row = cursor.fetchone()
    if row is None:
        cursor.execute(_NEW_ENTRY, place)
        cursor.execute(_ENTRY, place)
        row = cursor.fetchone()
    topic_key, written, unaggregated, unaggregated_s = row
    covered = _covered(batch)
    known, left = read_ranges(written), read_ranges(unaggregated)
    return WrittenOffsets(topic_key, batch.partition, first, after, covered, known, left, unaggregated_s)


def _covered(batch: StreamBatch) -> Ranges:
    """The offsets that need not come any more: those of the batch, and what its sender says is not there."""
    offsets = [record.offset for record in batch.records]
    if batch.since is not None or offsets[-1] - offsets[0] == len(offsets) - 1:
        return ((offsets[0] if batch.since is None else batch.since, offsets[-1] + 1),)
    starts = [offset for before, offset in pairwise(offsets) if offset > before + 1]
    ends = [before + 1 for before, offset in pairwise(offsets) if offset > before + 1]
    return tuple(zip([offsets[0], *starts], [*ends, offsets[-1] + 1], strict=True))


def save(cursor: Any, entry: WrittenOffsets, counts: dict[str, int], unaggregated: Ranges) -> None:
    """Note the batch as written, so many new rows of each kind, and what is left to be folded."""
    place = {
        "topic_key": entry.topic_key,
        "partition": entry.partition,
        "after": entry.after,
        "covered": to_multirange(entry.covered),
        "unaggregated": to_multirange(unaggregated),
    }
    cursor.execute(_NOTE, counts | place)


def record_delivery(cursor: Any, entry: WrittenOffsets, batch: StreamBatch, new: int) -> None:
    """Count a delivery, of whose lines so many were new, in its minute."""
    counts = {"records": len(batch.records), "redelivered": len(batch.records) - new}
    place = {"topic_key": entry.topic_key, "partition": entry.partition}
    cursor.execute(_DELIVERY, counts | place | {"oldest_ms": batch.records[0].timestamp_ms})


def lock_partition(cursor: Any, topic_key: int, partition: int) -> None:
    """Hold a partition's entry until the transaction ends."""
    place = (topic_key, partition)
    cursor.execute("SELECT FROM written_offsets WHERE topic_key = %s AND partition = %s FOR UPDATE", place)


def adjust_counts(cursor: Any, topic_key: int, partition: int, changes: dict[str, int]) -> None:
    """Add to the running totals of rows by table; what is negative is taken away."""
    sums = ", ".join(f"{table} = {table} + {change:d}" for table, change in changes.items())
    cursor.execute(
        f"UPDATE written_offsets SET {sums} WHERE topic_key = %s AND partition = %s", (topic_key, partition)
    )  # noqa: S608


def take_unaggregated(cursor: Any, topic_key: int, partition: int) -> Ranges:
    """What is to be folded of a partition, noted as folded by this transaction."""
    place = (topic_key, partition)
    cursor.execute(
        "SELECT unaggregated FROM written_offsets WHERE topic_key = %s AND partition = %s FOR UPDATE", place
    )
    (unaggregated,) = cursor.fetchone()
    done = "UPDATE written_offsets SET unaggregated = '{}', aggregated_at = clock_timestamp() WHERE topic_key = %s AND partition = %s"
    cursor.execute(done, place)
    return read_ranges(unaggregated)


def count_offsets(ranges: Ranges) -> int:
    """How many offsets they hold."""
    return sum(after - first for first, after in ranges)


def union(ranges: Ranges, first: int, after: int) -> Ranges:
    """The same with one more range, joined with what it touches; they may come in any order."""
    apart = [known for known in ranges if known[1] < first or known[0] > after]
    touched = [known for known in ranges if known not in apart]
    whole = (min([first, *(f for f, _ in touched)]), max([after, *(a for _, a in touched)]))
    return tuple(sorted([*apart, whole]))


def to_multirange(ranges: Sequence[tuple[int, int]]) -> str:
    """As PostgreSQL writes an int8multirange."""
    return "{" + ",".join(f"[{first},{after})" for first, after in ranges) + "}"


def read_ranges(multirange: str) -> Ranges:
    """What PostgreSQL writes of an int8multirange, in order."""
    return tuple((int(first), int(after)) for first, after in _ranges(multirange))
