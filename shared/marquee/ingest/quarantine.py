"""Lines that could not be read: counted, shown, and read again once a parser understands them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from marquee.db import written_offsets
from marquee.db.pool import Database
from marquee.errors import DataRefused
from marquee.events.batches import Record, make_record
from marquee.events.parser import EventParser
from marquee.ingest import watch_sessions
from marquee.ingest.row_encoding import parse_records
from marquee.ingest.store import write_rows

# Lines replayed in one transaction.
CHUNK = 500
_LONGEST_MS = 600_000


@dataclass(frozen=True, slots=True)
class Selection:
    """Which lines: of one category, from ``since`` on and before ``until`` (Kafka's times); None: all."""

    category: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def condition(self) -> tuple[str, dict[str, object]]:
        """For WHERE, and its parameters."""
        clauses = {
            "category = %(category)s": self.category,
            "q.time >= %(since)s": self.since,
            "q.time < %(until)s": self.until,
        }
        chosen = [clause for clause, value in clauses.items() if value is not None]
        values: dict[str, object] = {"category": self.category, "since": self.since, "until": self.until}
        return " AND ".join(chosen) or "true", values


@dataclass(frozen=True, slots=True)
class CategoryCount:
    """So many lines of one category, between these times."""

    category: str
    lines: int
    first: datetime
    last: datetime


@dataclass(frozen=True, slots=True)
class QuarantinedRecord:
    """One line, byte for byte, with its place in Kafka and what is wrong with it."""

    topic: str
    partition: int
    offset: int
    time: datetime
    category: str
    detail: str
    raw: bytes


@dataclass(frozen=True, slots=True)
class Replayed:
    """``moved``: lines by the table into which they went; ``left``: those that still cannot be read."""

    moved: Mapping[str, int]
    left: int


def categories(database: Database, chosen: Selection) -> list[CategoryCount]:
    """The categories of the chosen lines, the most frequent first."""
    condition, values = chosen.condition()
    query = f"SELECT category, count(*), min(time), max(time) FROM quarantine q WHERE {condition} "  # noqa: S608
    with database.transaction(deadline_ms=_LONGEST_MS) as cursor:
        cursor.execute(query + "GROUP BY category ORDER BY 2 DESC, 1", values)
        return [CategoryCount(*row) for row in cursor.fetchall()]


def newest(database: Database, chosen: Selection, limit: int) -> list[QuarantinedRecord]:
    """The newest of the chosen lines."""
    condition, values = chosen.condition()
    query = (
        'SELECT topic, partition, "offset", q.time, category, detail, raw '  # noqa: S608
        f"FROM quarantine q JOIN topics USING (topic_key) WHERE {condition} "
        'ORDER BY q.time DESC, topic_key, partition, "offset" DESC LIMIT %(limit)s'
    )
    with database.transaction(deadline_ms=_LONGEST_MS) as cursor:
        cursor.execute(query, values | {"limit": limit})
        return [_line(row) for row in cursor.fetchall()]


def _line(row: tuple[Any, ...]) -> QuarantinedRecord:
    topic, partition, offset, time, category, detail, raw = row
    return QuarantinedRecord(topic, partition, offset, time, category, detail, bytes(raw))


def replay(database: Database, chosen: Selection, parser: EventParser) -> Replayed:
    """Read the chosen lines again; those that are events by now move to their tables.

    A line leaves quarantine in the transaction that writes its row, so that it may be ended at any moment and
    begun again, and two at once do no harm.
    """
    moved: Counter[str] = Counter()
    left = 0
    for topic_key, partition in _partitions(database, chosen):
        after = -1
        while (last := _last_of_chunk(database, chosen, topic_key, partition, after)) is not None:
            chunk = _replay_chunk(database, chosen, parser, (topic_key, partition, after, last))
            moved.update(chunk.moved)
            left += chunk.left
            after = last
    return Replayed(dict(moved), left)


_Place = tuple[int, int, int, int]
"""Stream, partition, after which offset, up to and including which."""


def _partitions(database: Database, chosen: Selection) -> list[tuple[int, int]]:
    condition, values = chosen.condition()
    with database.transaction(deadline_ms=_LONGEST_MS) as cursor:
        cursor.execute(
            f"SELECT DISTINCT topic_key, partition FROM quarantine q WHERE {condition} ORDER BY 1, 2",  # noqa: S608
            values,
        )
        return [(topic_key, partition) for topic_key, partition in cursor.fetchall()]


def _last_of_chunk(
    database: Database, chosen: Selection, topic_key: int, partition: int, after: int
) -> int | None:
    with database.transaction() as cursor:
        records = _chosen(cursor, chosen, (topic_key, partition, after, 2**63 - 1), CHUNK)
    return records[-1].offset if records else None


def _replay_chunk(database: Database, chosen: Selection, parser: EventParser, place: _Place) -> Replayed:
    """Replay some lines in one transaction; line by line, where the database refuses one of them."""
    try:
        with database.transaction() as cursor:
            return _move(cursor, chosen, parser, place)
    except DataRefused:
        topic_key, partition, after, last = place
        if last == after + 1:
            return Replayed({}, 1)
        middle = (after + last) // 2
        halves = ((after, middle), (middle, last))
        parts = [_replay_chunk(database, chosen, parser, (topic_key, partition, *half)) for half in halves]
        return Replayed(Counter(parts[0].moved) + Counter(parts[1].moved), parts[0].left + parts[1].left)


def _move(cursor: Any, chosen: Selection, parser: EventParser, place: _Place) -> Replayed:
    topic_key, partition, _, _ = place
    written_offsets.lock_partition(cursor, topic_key, partition)
    records = _chosen(cursor, chosen, place, None)
    lines = parse_records(records, parser)
    left = {malformed.offset for malformed, _, _ in lines.malformed}
    lines.malformed = []
    moving = [line.offset for line in records if line.offset not in left]
    if not moving:
        return Replayed({}, len(left))
    delete = 'DELETE FROM quarantine WHERE topic_key = %s AND partition = %s AND "offset" = ANY (%s)'
    cursor.execute(delete, (topic_key, partition, moving))
    written = write_rows(cursor, (topic_key, partition), lines, copy=False)
    watch_sessions.aggregate(cursor, topic_key, partition, tuple((offset, offset + 1) for offset in moving))
    written_offsets.adjust_counts(cursor, topic_key, partition, written.counts | {"quarantine": -len(moving)})
    return Replayed({table: rows for table, rows in written.counts.items() if rows}, len(left))


def _chosen(cursor: Any, chosen: Selection, place: _Place, limit: int | None) -> list[Record]:
    condition, values = chosen.condition()
    names = dict(zip(("topic_key", "partition", "after", "last"), place, strict=True))
    cursor.execute(
        'SELECT "offset", raw FROM quarantine q WHERE topic_key = %(topic_key)s AND partition = %(partition)s '  # noqa: S608
        f'AND "offset" > %(after)s AND "offset" <= %(last)s AND {condition} ORDER BY "offset" LIMIT %(limit)s',
        values | names | {"limit": limit},
    )
    return [make_record(offset, -1, bytes(raw)) for offset, raw in cursor.fetchall()]
