"""Conversion of a batch's records to rows and columns for the database.

Almost every record is a watch, so watches take a fast path: about a microsecond each, from text to row.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from marquee.db import pg_arrays
from marquee.events.batches import Record
from marquee.events.kinds import (
    KIND_OF_EVENT,
    WATCH,
    Category,
    Event,
    EventKind,
    MalformedRecord,
    Watch,
)
from marquee.events.parser import EventParser, RecordParser
from marquee.ingest.time_bounds import TimeBounds

Columns = tuple[str, ...]
"""One array literal per column."""

_NOT_UTF8 = MalformedRecord(Category.ENCODING, "not UTF-8")


def _joined_array(values: Iterable[Sequence[str]]) -> str:
    return pg_arrays.text_array([",".join(value) for value in values])


_ENCODERS: dict[str, Callable[[Any], str]] = {
    "text": pg_arrays.text_array,
    "integer": pg_arrays.number_array,
    "smallint": pg_arrays.number_array,
    "text[]": _joined_array,
}


@dataclass(slots=True)
class EventRows:
    """The events of one kind, each with the offset of its record."""

    offsets: list[int] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)


@dataclass(slots=True)
class ParsedBatch:
    """The events of some records by kind, in the order of the records."""

    watches: list[str] = field(default_factory=list)
    """Rows for COPY: offset, time, and the columns of ``WATCH``. None of them needs escaping."""
    others: dict[EventKind, EventRows] = field(default_factory=lambda: defaultdict(EventRows))
    """The events of all other kinds."""
    malformed: list[tuple[Record, str, str]] = field(default_factory=list)
    """Record, category, detail."""
    dropped: list[int] = field(default_factory=list)
    """Offsets of records that are not to be stored (:mod:`marquee.ingest.marked_users`)."""

    def count(self, kind: EventKind) -> int:
        """Return the number of events of one kind."""
        return len(self.watches) if kind is WATCH else len(self.others[kind].events)

    def columns(self, kind: EventKind) -> Columns:
        """Return time, offset and the columns of ``kind``, as array literals; ``text[]`` is joined by commas."""
        if kind is WATCH:
            offsets, times, *values = zip(*(row.split("\t") for row in self.watches), strict=True)
            head = pg_arrays.text_array(times), pg_arrays.number_array(offsets)
            return (*head, *(_ENCODERS[c.sql_type](v) for c, v in zip(kind.columns, values, strict=True)))
        rows = self.others[kind]
        return (
            pg_arrays.time_array([event.time for event in rows.events]),
            pg_arrays.number_array(rows.offsets),
            *(_ENCODERS[c.sql_type]([getattr(e, c.name) for e in rows.events]) for c in kind.columns),
        )

    def quarantine_columns(self, bounds: TimeBounds) -> Columns:
        """Return Kafka's time in milliseconds, offset, category, detail and raw bytes, as array literals.

        The time is the writer's where Kafka's is unknown or implausible.
        """
        records = [record for record, _, _ in self.malformed]
        known = [bounds.known_timestamp_ms(record.timestamp_ms) for record in records]
        return (
            pg_arrays.number_array([bounds.now_ms if time_ms is None else time_ms for time_ms in known]),
            pg_arrays.number_array([record.offset for record in records]),
            pg_arrays.text_array([category for _, category, _ in self.malformed]),
            pg_arrays.text_array([escape_unstorable(detail) for _, _, detail in self.malformed]),
            pg_arrays.binary_array([record.raw for record in records]),
        )


def parse_records(records: Sequence[Record], parser: RecordParser, bounds: TimeBounds | None = None) -> ParsedBatch:
    """Parse the records, and group the events by kind in the order of the records.

    With ``bounds``, a record whose time is too far ahead is malformed.
    """
    parsed = ParsedBatch()
    if not isinstance(parser, EventParser):
        for record in records:
            _add_record(parsed, record, parser, bounds)
        return parsed
    fields = parser.match_watches([record.text or "" for record in records])
    minutes = {minute: parser.utc_minute(minute) for minute in {watch[0] for watch in fields}}
    if bounds and records:
        # Minutes that are plausible for every record need no check of each. ISO 8601 sorts as the time does.
        until = bounds.latest([record.timestamp_ms for record in records]).isoformat()[:16]
        minutes = {local: utc if utc and utc < until else None for local, utc in minutes.items()}
    add = parsed.watches.append
    for record, (local, rest, user_id, movie_id, minute) in zip(records, fields, strict=True):
        utc = minutes[local]
        if utc:
            add(f"{record.offset}\t{utc}{rest}+00\t{user_id}\t{movie_id}\t{minute}")
        else:
            _add_record(parsed, record, parser, bounds)
    return parsed


def _add_record(parsed: ParsedBatch, record: Record, parser: RecordParser, bounds: TimeBounds | None) -> None:
    event = _NOT_UTF8 if record.text is None else parser.parse(record.text)
    if bounds and not isinstance(event, MalformedRecord):
        event = _check_time(event, bounds.latest([record.timestamp_ms]))
    if isinstance(event, MalformedRecord):
        parsed.malformed.append((record, event.category, event.detail))
    elif isinstance(event, Watch):
        time = event.time.isoformat()
        parsed.watches.append(f"{record.offset}\t{time}\t{event.user_id}\t{event.movie_id}\t{event.minute}")
    else:
        rows = parsed.others[KIND_OF_EVENT[type(event)]]
        rows.events.append(event)
        rows.offsets.append(record.offset)


def _check_time(event: Event, latest: datetime) -> Event | MalformedRecord:
    if event.time <= latest:
        return event
    detail = f"{event.time:%Y-%m-%dT%H:%M:%SZ} is after {latest:%Y-%m-%dT%H:%M:%SZ}, the latest plausible time"
    return MalformedRecord(Category.TIME, detail)


def escape_unstorable(text: str) -> str:
    """Return ``text`` with escapes for the characters that PostgreSQL cannot store: NUL and lone surrogates."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")
