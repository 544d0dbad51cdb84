"""Ledger of written offsets: ranges by partition, updated in the transactions that write the rows.

A writer locks its partition's row from its first statement to its commit, so that of two writers with the
same records the second sees the work of the first. The ledger depends on offsets alone: a redelivered
record is recognized even if it would be parsed differently now, or if its row was replayed or deleted.
"""

from __future__ import annotations

import logging
import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from marquee.events.batches import Record, StreamBatch
from marquee.events.kinds import RECORD_TABLES

log = logging.getLogger(__name__)

MAX_MISSING = 1_000_000
"""Offsets of one batch that its sender may call missing: transaction markers, aborted and compacted records."""

MAX_RANGES = 1_000
"""Ranges of a partition up to which gaps are kept, for records that may still come.

A write costs time in proportion to them. A consumer reads a partition in order, so offsets between two records of a
batch do not exist in Kafka; beyond this number they are believed not to, and the older half of the gaps between batches
is, too.
"""

OffsetRanges = tuple[tuple[int, int], ...]
"""Disjoint ranges of offsets in ascending order, each from its first offset to one after its last."""

_SELECT = """
SELECT topic_key, written * int8multirange(int8range(%(first)s, %(after)s)), unaggregated,
       extract(epoch FROM clock_timestamp() - aggregated_at)::float8, (SELECT count(*) FROM unnest(written))
FROM written_offsets
WHERE topic_key = (SELECT topic_key FROM topics WHERE topic_id = %(topic_id)s) AND partition = %(partition)s
FOR UPDATE"""

_SELECT_END = """
SELECT topic_key, next_offset, unaggregated, extract(epoch FROM clock_timestamp() - aggregated_at)::float8
FROM written_offsets
WHERE topic_key = (SELECT topic_key FROM topics WHERE topic_id = %(topic_id)s) AND partition = %(partition)s
FOR UPDATE"""

# The update changes nothing; it makes the statement return the row even if another writer inserted it.
_INSERT = f"""
WITH topic AS (
    INSERT INTO topics (topic, topic_id) VALUES (%(topic)s, %(topic_id)s)
    ON CONFLICT (topic_id) DO UPDATE SET topic = excluded.topic RETURNING topic_key
)
INSERT INTO written_offsets (topic_key, partition, next_offset, {", ".join(RECORD_TABLES)}, updated)
SELECT topic_key, %(partition)s, 0, {", ".join("0" for _ in RECORD_TABLES)}, clock_timestamp() FROM topic
ON CONFLICT DO NOTHING"""  # noqa: S608

_UPDATE = f"""
UPDATE written_offsets SET
    next_offset = greatest(next_offset, %(after)s),
    {", ".join(f"{table} = {table} + %({table})s" for table in RECORD_TABLES)},
    written = written + %(covered)s::int8multirange,
    unaggregated = %(unaggregated)s::int8multirange,
    aggregated_at = CASE WHEN %(unaggregated)s = '{{}}' THEN clock_timestamp() ELSE aggregated_at END,
    updated = clock_timestamp()
WHERE topic_key = %(topic_key)s AND partition = %(partition)s"""  # noqa: S608

# A gap of more than MAX_MISSING offsets stays: no sender is believed that far.
_CLOSE_OLDEST = """
UPDATE written_offsets SET written = written + (
    SELECT coalesce(range_agg(int8range(upper(gap.before), gap.next)), '{}')
    FROM (SELECT known AS before, lead(lower(known)) OVER (ORDER BY known) AS next FROM unnest(written) AS known
          ORDER BY known LIMIT %(closed)s) AS gap
    WHERE gap.next - upper(gap.before) <= %(missing)s)
WHERE topic_key = (SELECT topic_key FROM topics WHERE topic_id = %(topic_id)s) AND partition = %(partition)s"""

_COUNT_DELIVERY = """
INSERT INTO deliveries_per_minute AS old
    (time, topic_key, partition, batches, records, redelivered, batch_records_max, lag_ms_max)
VALUES (date_trunc('minute', clock_timestamp(), 'UTC'), %(topic_key)s, %(partition)s, 1, %(records)s, %(redelivered)s,
        %(records)s,
        CASE WHEN %(oldest_ms)s::bigint IS NOT NULL
             THEN greatest(0, extract(epoch FROM clock_timestamp()) * 1000 - %(oldest_ms)s::bigint)::bigint END)
ON CONFLICT (topic_key, partition, time) DO UPDATE SET
    batches = old.batches + 1,
    records = old.records + excluded.records,
    redelivered = old.redelivered + excluded.redelivered,
    batch_records_max = greatest(old.batch_records_max, excluded.batch_records_max),
    lag_ms_max = greatest(old.lag_ms_max, excluded.lag_ms_max)"""

_find_ranges = re.compile(r"\[(\d+),(\d+)\)").findall


@dataclass(frozen=True, slots=True)
class WrittenOffsets:
    """The ledger's row of a partition, as far as it concerns one batch.

    ``first`` and ``after`` enclose the batch. ``covered`` are the offsets that the batch accounts for;
    ``written`` are those from ``first`` to before ``after`` that were written before.
    """

    topic_key: int
    partition: int
    first: int
    after: int
    covered: OffsetRanges
    written: OffsetRanges
    unaggregated: OffsetRanges
    unaggregated_s: float
    """Seconds since the partition last had no unaggregated offsets."""

    def extended(self, records: int) -> WrittenOffsets:
        """Return the row with that many new offsets after ``first``."""
        after = self.first + records
        return replace(self, after=after, covered=((self.first, after),))

    def new(self, records: Sequence[Record]) -> list[Record]:
        """Return the records that have not been written yet."""
        # Only the last range that begins at or before an offset can contain it.
        firsts = [first for first, _ in self.written]
        ends = [0, *(after for _, after in self.written)]
        return [record for record in records if record.offset >= ends[bisect_right(firsts, record.offset)]]


def load_for_batch(cursor: Any, batch: StreamBatch) -> WrittenOffsets:
    """Return the row of the batch's partition, locked until the transaction ends; create it if needed."""
    first, after = batch.records[0].offset, batch.records[-1].offset + 1
    parameters = {
        "topic": batch.topic,
        "topic_id": batch.topic_id,
        "partition": batch.partition,
        "first": first,
        "after": after,
    }
    topic_key, written, unaggregated, unaggregated_s, ranges = _select_or_insert(cursor, _SELECT, parameters)
    if ranges >= MAX_RANGES:
        closed = MAX_RANGES // 2
        log.warning(
            "partition %d of %a has %d gaps: the oldest %d count as offsets that do not exist",
            batch.partition,
            batch.topic[:250],
            ranges - 1,
            closed,
        )
        cursor.execute(_CLOSE_OLDEST, {**parameters, "closed": closed, "missing": MAX_MISSING})
        topic_key, written, unaggregated, unaggregated_s, ranges = _select_or_insert(cursor, _SELECT, parameters)
    covered = _covered_offsets(batch)
    if ranges + len(covered) > MAX_RANGES and len(covered) > 1 and after - first - len(batch.records) <= MAX_MISSING:
        log.warning(
            "partition %d of %a has %d gaps: the %d in batch %a count as offsets that do not exist",
            batch.partition,
            batch.topic[:250],
            ranges,
            len(covered) - 1,
            batch.id[:250],
        )
        covered = ((first, after),)
    return WrittenOffsets(
        topic_key,
        batch.partition,
        first,
        after,
        covered,
        read_ranges(written),
        read_ranges(unaggregated),
        unaggregated_s,
    )


def _covered_offsets(batch: StreamBatch) -> OffsetRanges:
    """Return the offsets of the batch, and those that its sender says do not exist in Kafka.

    A sender is believed only up to MAX_MISSING offsets: it could otherwise mark records as written that
    Kafka has yet to receive.
    """
    offsets = [record.offset for record in batch.records]
    since = batch.since
    if since is not None and offsets[-1] + 1 - since - len(offsets) > MAX_MISSING:
        log.warning(
            "batch %a says that over %d offsets since %d are missing from Kafka; that is ignored",
            batch.id[:250],
            MAX_MISSING,
            since,
        )
        since = None
    if since is not None or offsets[-1] - offsets[0] == len(offsets) - 1:
        return ((offsets[0] if since is None else since, offsets[-1] + 1),)
    starts = [offset for before, offset in pairwise(offsets) if offset > before + 1]
    ends = [before + 1 for before, offset in pairwise(offsets) if offset > before + 1]
    return tuple(zip([offsets[0], *starts], [*ends, offsets[-1] + 1], strict=True))


def load_for_append(cursor: Any, topic: str, partition: int) -> WrittenOffsets:
    """Return the row of a partition whose offsets the writer assigns, locked until the transaction ends.

    It covers no offset yet (:meth:`WrittenOffsets.extended`); it is created if needed. ``topic`` is also the topic's
    id.
    """
    parameters = {"topic": topic, "topic_id": topic, "partition": partition}
    topic_key, first, unaggregated, unaggregated_s = _select_or_insert(cursor, _SELECT_END, parameters)
    return WrittenOffsets(topic_key, partition, first, first, (), (), read_ranges(unaggregated), unaggregated_s)


def _select_or_insert(cursor: Any, select: str, parameters: Mapping[str, object]) -> Any:
    """Return the row of a partition, locked until the transaction ends; create it if needed."""
    cursor.execute(select, parameters)
    row = cursor.fetchone()
    if row is None:
        cursor.execute(_INSERT, parameters)
        cursor.execute(select, parameters)
        row = cursor.fetchone()
    return row


def save_offsets(cursor: Any, entry: WrittenOffsets, counts: Mapping[str, int], unaggregated: OffsetRanges) -> None:
    """Mark the batch as written, and add its new rows by table to the running totals."""
    parameters = {
        "topic_key": entry.topic_key,
        "partition": entry.partition,
        "after": entry.after,
        "covered": to_multirange(entry.covered),
        "unaggregated": to_multirange(unaggregated),
    }
    cursor.execute(_UPDATE, {**counts, **parameters})


def record_delivery(cursor: Any, entry: WrittenOffsets, records: int, new: int, oldest_ms: int | None) -> None:
    """Count the arrival of a batch in its minute; ``new`` of its records had not been written before.

    ``oldest_ms`` is the first known Kafka timestamp of the batch.
    """
    parameters = {
        "topic_key": entry.topic_key,
        "partition": entry.partition,
        "records": records,
        "redelivered": records - new,
        "oldest_ms": oldest_ms,
    }
    cursor.execute(_COUNT_DELIVERY, parameters)


def lock_partition(cursor: Any, topic_key: int, partition: int) -> None:
    """Lock a partition's row until the transaction ends."""
    cursor.execute(
        "SELECT FROM written_offsets WHERE topic_key = %s AND partition = %s FOR UPDATE",
        (topic_key, partition),
    )


def adjust_counts(cursor: Any, topic_key: int, partition: int, changes: Mapping[str, int]) -> None:
    """Add ``changes``, which may be negative, to the running totals of rows by table."""
    sums = ", ".join(f"{table} = {table} + {change:d}" for table, change in changes.items())
    query = f"UPDATE written_offsets SET {sums} WHERE topic_key = %s AND partition = %s"  # noqa: S608
    cursor.execute(query, (topic_key, partition))


def claim_unaggregated(cursor: Any, topic_key: int, partition: int) -> OffsetRanges:
    """Return the unaggregated offsets of a partition, and mark them as aggregated by this transaction."""
    key = (topic_key, partition)
    cursor.execute("SELECT unaggregated FROM written_offsets WHERE topic_key = %s AND partition = %s FOR UPDATE", key)
    (unaggregated,) = cursor.fetchone()
    cursor.execute(
        "UPDATE written_offsets SET unaggregated = '{}', aggregated_at = clock_timestamp() "
        "WHERE topic_key = %s AND partition = %s",
        key,
    )
    return read_ranges(unaggregated)


def count_offsets(ranges: OffsetRanges) -> int:
    """Return the number of offsets in ``ranges``."""
    return sum(after - first for first, after in ranges)


def union(ranges: OffsetRanges, first: int, after: int) -> OffsetRanges:
    """Return ``ranges`` with the range from ``first`` to before ``after``, merged with those it touches."""
    separate = [known for known in ranges if known[1] < first or known[0] > after]
    touching = [known for known in ranges if known not in separate]
    merged = (min([first, *(f for f, _ in touching)]), max([after, *(a for _, a in touching)]))
    return tuple(sorted([*separate, merged]))


def to_multirange(ranges: Sequence[tuple[int, int]]) -> str:
    """Return PostgreSQL's text of an int8multirange."""
    return "{" + ",".join(f"[{first},{after})" for first, after in ranges) + "}"


def read_ranges(multirange: str) -> OffsetRanges:
    """Return the ranges of PostgreSQL's text of an int8multirange."""
    return tuple((int(first), int(after)) for first, after in _find_ranges(multirange))
