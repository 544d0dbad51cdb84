"""Quarantine of malformed records: counts, listing, and replay once a parser accepts them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from marquee.db import written_offsets
from marquee.db.pool import Database
from marquee.db.privacy_marks import MarkReader
from marquee.errors import DataRefused
from marquee.events.batches import Record, make_record
from marquee.events.kinds import QUARANTINE
from marquee.events.parser import EventParser
from marquee.ingest import watch_sessions
from marquee.ingest.marked_users import apply_marks
from marquee.ingest.row_encoding import parse_records
from marquee.ingest.store import write_rows
from marquee.ingest.time_bounds import current_bounds

# Records replayed in one transaction.
CHUNK_SIZE = 500
_DEADLINE_MS = 600_000


@dataclass(frozen=True, slots=True)
class Selection:
    """Quarantined records of one category, from ``since`` on and before ``until`` (Kafka's times); None: all."""

    category: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def condition(self) -> tuple[str, dict[str, object]]:
        """Return the SQL condition and its parameters."""
        clauses = {
            "category = %(category)s": self.category,
            "q.time >= %(since)s": self.since,
            "q.time < %(until)s": self.until,
        }
        active = [clause for clause, value in clauses.items() if value is not None]
        values: dict[str, object] = {"category": self.category, "since": self.since, "until": self.until}
        return " AND ".join(active) or "true", values


@dataclass(frozen=True, slots=True)
class CategoryCount:
    """The number of records of one category, and the times of the first and the last."""

    category: str
    records: int
    first: datetime
    last: datetime


@dataclass(frozen=True, slots=True)
class QuarantinedRecord:
    """One record, byte for byte, with its position in Kafka and the reason."""

    topic: str
    partition: int
    offset: int
    time: datetime
    category: str
    detail: str
    raw: bytes


@dataclass(frozen=True, slots=True)
class ReplayResult:
    """``moved``: records by the table they moved to; ``remaining``: records that are still malformed."""

    moved: Mapping[str, int]
    remaining: int


@dataclass(frozen=True, slots=True)
class _Replaying:
    database: Database
    selection: Selection
    parser: EventParser
    reader: MarkReader


@dataclass(frozen=True, slots=True)
class _Chunk:
    """Offsets of one partition, after ``after`` up to and including ``last``."""

    topic_key: int
    partition: int
    after: int
    last: int


def count_categories(database: Database, selection: Selection) -> list[CategoryCount]:
    """Return the categories of the selected records, the most frequent first."""
    condition, values = selection.condition()
    query = f"SELECT category, count(*), min(time), max(time) FROM quarantine q WHERE {condition} "  # noqa: S608
    with database.transaction(deadline_ms=_DEADLINE_MS) as cursor:
        cursor.execute(query + "GROUP BY category ORDER BY 2 DESC, 1", values)
        return [CategoryCount(*row) for row in cursor.fetchall()]


def list_newest(database: Database, selection: Selection, limit: int) -> list[QuarantinedRecord]:
    """Return the newest of the selected records."""
    condition, values = selection.condition()
    query = (
        'SELECT topic, partition, "offset", q.time, category, detail, raw '  # noqa: S608
        f"FROM quarantine q JOIN topics USING (topic_key) WHERE {condition} "
        'ORDER BY q.time DESC, topic_key, partition, "offset" DESC LIMIT %(limit)s'
    )
    with database.transaction(deadline_ms=_DEADLINE_MS) as cursor:
        cursor.execute(query, values | {"limit": limit})
        return [_quarantined_record(row) for row in cursor.fetchall()]


def _quarantined_record(row: tuple[Any, ...]) -> QuarantinedRecord:
    topic, partition, offset, time, category, detail, raw = row
    return QuarantinedRecord(topic, partition, offset, time, category, detail, bytes(raw))


def replay_records(
    database: Database, selection: Selection, parser: EventParser, reader: MarkReader | None = None
) -> ReplayResult:
    """Parse the selected records again, and move those that are events now to their tables.

    Records of users whom ``reader`` finds marked are dropped. A record leaves quarantine in the transaction that
    writes its row. A replay can be interrupted and repeated, and two replays can run at the same time.
    """
    moved: Counter[str] = Counter()
    remaining = 0
    replaying = _Replaying(database, selection, parser, reader or MarkReader())
    for topic_key, partition in _partitions(database, selection):
        after = -1
        while (last := _end_of_chunk(database, selection, topic_key, partition, after)) is not None:
            result = _replay_chunk(replaying, _Chunk(topic_key, partition, after, last))
            moved.update(result.moved)
            remaining += result.remaining
            after = last
    return ReplayResult(dict(moved), remaining)


def _partitions(database: Database, selection: Selection) -> list[tuple[int, int]]:
    condition, values = selection.condition()
    with database.transaction(deadline_ms=_DEADLINE_MS) as cursor:
        cursor.execute(
            f"SELECT DISTINCT topic_key, partition FROM quarantine q WHERE {condition} ORDER BY 1, 2",  # noqa: S608
            values,
        )
        return [(topic_key, partition) for topic_key, partition in cursor.fetchall()]


def _end_of_chunk(database: Database, selection: Selection, topic_key: int, partition: int, after: int) -> int | None:
    with database.transaction() as cursor:
        chunk = _Chunk(topic_key, partition, after, 2**63 - 1)
        records = _select_records(cursor, selection, chunk, CHUNK_SIZE)
    return records[-1].offset if records else None


def _replay_chunk(replaying: _Replaying, chunk: _Chunk) -> ReplayResult:
    """Replay a chunk in one transaction; divide it down to the record that the database refuses."""
    try:
        with replaying.database.transaction() as cursor:
            return _move(cursor, replaying, chunk)
    except DataRefused:
        if chunk.last == chunk.after + 1:
            return ReplayResult({}, 1)
        middle = (chunk.after + chunk.last) // 2
        halves = ((chunk.after, middle), (middle, chunk.last))
        first, second = (_replay_chunk(replaying, _Chunk(chunk.topic_key, chunk.partition, *half)) for half in halves)
        return ReplayResult(Counter(first.moved) + Counter(second.moved), first.remaining + second.remaining)


def _move(cursor: Any, replaying: _Replaying, chunk: _Chunk) -> ReplayResult:
    topic_key, partition = chunk.topic_key, chunk.partition
    written_offsets.lock_partition(cursor, topic_key, partition)
    records, bounds = _select_records(cursor, replaying.selection, chunk, None), current_bounds()
    parsed = parse_records(records, replaying.parser, bounds)
    apply_marks(parsed, replaying.reader.load(cursor))
    remaining = {record.offset for record, _, _ in parsed.malformed}
    parsed.malformed = []
    offsets = [record.offset for record in records if record.offset not in remaining]
    if not offsets:
        return ReplayResult({}, len(remaining))
    delete = 'DELETE FROM quarantine WHERE topic_key = %s AND partition = %s AND "offset" = ANY (%s)'
    cursor.execute(delete, (topic_key, partition, offsets))
    written = write_rows(cursor, topic_key, partition, parsed, bounds, copy=False)
    watch_sessions.aggregate(cursor, topic_key, partition, tuple((offset, offset + 1) for offset in offsets))
    changes = written.by_record_table | {QUARANTINE: -len(offsets)}
    written_offsets.adjust_counts(cursor, topic_key, partition, changes)
    return ReplayResult({table: rows for table, rows in written.items() if rows}, len(remaining))


def _select_records(cursor: Any, selection: Selection, chunk: _Chunk, limit: int | None) -> list[Record]:
    condition, values = selection.condition()
    bounds = {
        "topic_key": chunk.topic_key,
        "partition": chunk.partition,
        "after": chunk.after,
        "last": chunk.last,
        "limit": limit,
    }
    query = (
        'SELECT "offset", (extract(epoch FROM q.time) * 1000)::bigint, raw FROM quarantine q '  # noqa: S608
        'WHERE topic_key = %(topic_key)s AND partition = %(partition)s AND "offset" > %(after)s '
        f'AND "offset" <= %(last)s AND {condition} ORDER BY "offset" LIMIT %(limit)s'
    )
    cursor.execute(query, values | bounds)
    return [make_record(offset, time_ms, bytes(raw)) for offset, time_ms, raw in cursor.fetchall()]
