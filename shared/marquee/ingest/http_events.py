"""Writes of events that arrive over HTTP. Each is stored once, identified by its source and the sender's id.

The key of a source is a topic ``http/<source>`` whose offsets the writer assigns, so that rows, counts, watch sessions
and the monitor's progress work as for the event log. Ids, rows and ledger are one transaction. All writers lock in one
order: a partition's row, ids in ascending order, watch sessions in key order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import msgspec

from marquee.db import pg_arrays, written_offsets
from marquee.db.pool import Database
from marquee.db.privacy_marks import MarkReader
from marquee.errors import DataRefused
from marquee.events.batches import Record, make_record
from marquee.events.json_records import JsonRecordParser, read_event_id
from marquee.ingest.marked_users import apply_marks
from marquee.ingest.row_encoding import ParsedBatch, parse_records
from marquee.ingest.store import UNSTORABLE, execute, write_parsed
from marquee.ingest.time_bounds import TimeBounds, current_bounds

TOPIC_PREFIX = "http/"
"""Prefix of the topics of HTTP sources. The slash distinguishes them from topics of Kafka."""
PARTITIONS = 8
"""Number of partitions of a source, so that its writers rarely wait for each other."""

_INSERT_IDS = """
INSERT INTO event_ids (topic_key, id) SELECT %s, id FROM unnest(%s::uuid[]) AS id ORDER BY id
ON CONFLICT DO NOTHING RETURNING id"""


class RefusedEvent(msgspec.Struct, frozen=True):
    """An event that is in quarantine: its position in the request, its id if it has one, and the reason."""

    index: int
    id: str | None
    category: str
    reason: str


class EventsReceipt(msgspec.Struct, frozen=True):
    """Outcome of the events of a request, each of which is counted once.

    ``accepted`` were written now; ``repeated`` had been written before, or occur twice; ``refused`` are in quarantine.
    """

    accepted: int
    repeated: int
    refused: tuple[RefusedEvent, ...]


@dataclass(frozen=True, slots=True)
class _Element:
    """One event as it arrived; ``identity`` is of its id, or of its bytes if it is malformed."""

    index: int
    raw: bytes
    identity: str


@dataclass(frozen=True, slots=True)
class _Written:
    """Indexes of the elements that were new, and the reasons of those that the database refused."""

    new: frozenset[int] = frozenset()
    unstorable: Mapping[int, str] = field(default_factory=dict)

    def __add__(self, other: _Written) -> _Written:
        return _Written(self.new | other.new, {**self.unstorable, **other.unstorable})


def write_events(
    database: Database,
    source: str,
    events: Sequence[bytes],
    parser: JsonRecordParser,
    reader: MarkReader | None = None,
) -> EventsReceipt:
    """Write each of ``events``, JSON objects, that is not stored yet; a malformed one goes into quarantine.

    An event of a user whom ``reader`` finds marked is accepted and dropped, so that its sender learns nothing.
    After an error, none or some of the events are written; sending the same events again writes the rest. Raises
    :class:`DatabaseUnavailable`, or :class:`DatabaseRefused` if the tables are missing.
    """
    bounds = current_bounds()
    records = [make_record(index, bounds.now_ms, raw) for index, raw in enumerate(events)]
    parsed = parse_records(records, parser, bounds)
    refused = {
        record.offset: RefusedEvent(record.offset, read_event_id(events[record.offset]), category, detail)
        for record, category, detail in parsed.malformed
    }
    elements = [_Element(i, raw, _identify(raw, malformed=i in refused)) for i, raw in enumerate(events)]
    # Repetitions of a request meet in one partition, where the second waits for the first.
    partition = UUID(elements[0].identity).int % PARTITIONS
    written = _Writer(database, TOPIC_PREFIX + source, partition, parser, bounds, reader or MarkReader()).write(
        elements
    )
    for index, reason in written.unstorable.items():
        refused[index] = RefusedEvent(index, read_event_id(events[index]), UNSTORABLE, reason)
    accepted = len(written.new - refused.keys())
    return EventsReceipt(
        accepted, len(events) - len(refused) - accepted, tuple(refused[index] for index in sorted(refused))
    )


def _identify(raw: bytes, *, malformed: bool) -> str:
    """Return the identity of an event as a UUID; a malformed event is identified by its bytes, not by its id."""
    event_id = None if malformed else read_event_id(raw)
    content = b"raw\0" + raw if event_id is None else b"id\0" + event_id.encode()
    return str(UUID(bytes=hashlib.sha256(content).digest()[:16]))


@dataclass(frozen=True, slots=True)
class _Writer:
    database: Database
    topic: str
    partition: int
    parser: JsonRecordParser
    bounds: TimeBounds
    reader: MarkReader

    def write(self, elements: Sequence[_Element]) -> _Written:
        """Write the elements in one transaction; if the database refuses it, bisect to find the refused element."""
        try:
            return self._write(elements, "")
        except DataRefused as error:
            if len(elements) == 1:
                return self._write(elements, str(error))
            middle = len(elements) // 2
            return self.write(elements[:middle]) + self.write(elements[middle:])

    def _write(self, elements: Sequence[_Element], refusal: str) -> _Written:
        """Write the new elements; with ``refusal``, into quarantine."""
        first_of = {element.identity: element for element in reversed(elements)}
        with self.database.keyed_lock(self.topic, self.partition), self.database.transaction() as cursor:
            entry = written_offsets.load_for_append(cursor, self.topic, self.partition)
            new = sorted((first_of[id].index, first_of[id]) for id in _claim(cursor, entry.topic_key, list(first_of)))
            records = [
                make_record(offset, self.bounds.now_ms, element.raw)
                for offset, (_, element) in enumerate(new, entry.first)
            ]
            if new:
                entry = entry.extended(len(new))
                parsed = self._parse(records, refusal)
                apply_marks(parsed, self.reader.load(cursor))
                write_parsed(
                    cursor,
                    entry,
                    parsed,
                    self.bounds,
                    len(elements),
                    copy=self.database.copies,
                )
            written_offsets.record_delivery(cursor, entry, len(elements), len(new), None)
        indexes = frozenset(index for index, _ in new)
        return _Written(indexes, dict.fromkeys(indexes, refusal) if refusal else {})

    def _parse(self, records: Sequence[Record], refusal: str) -> ParsedBatch:
        if not refusal:
            return parse_records(records, self.parser, self.bounds)
        return ParsedBatch(malformed=[(record, UNSTORABLE, refusal) for record in records])


def _claim(cursor: Any, topic_key: int, identities: Sequence[str]) -> list[str]:
    """Insert identities, and return those that are new."""
    execute(cursor, _INSERT_IDS, (topic_key, pg_arrays.number_array(identities)))
    return [identity for (identity,) in cursor.fetchall()]
