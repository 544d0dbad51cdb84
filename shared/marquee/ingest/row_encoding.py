"""The lines of a batch, read and sorted by what they are, as rows or columns for the database.

Almost every line of the stream is a watch, so those take a short cut: a microsecond each, from text to row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from marquee.db import pg_arrays
from marquee.events.batches import Record
from marquee.events.kinds import (
    AccountCreated,
    Category,
    MalformedRecord,
    Rating,
    RecommendationRequest,
    Watch,
)
from marquee.events.parser import EventParser

Columns = tuple[str, ...]
"""One array literal a column."""

_NOT_UTF8 = MalformedRecord(Category.ENCODING, "not UTF-8")


@dataclass(slots=True)
class ParsedBatch:
    """The events of some lines by kind, each list beside the list of its lines' offsets."""

    watches: list[str] = field(default_factory=list)
    """As COPY wants them: offset, time, user_id, movie_id and minute, none of which can hold what it escapes."""
    ratings: list[Rating] = field(default_factory=list)
    rating_offsets: list[int] = field(default_factory=list)
    requests: list[RecommendationRequest] = field(default_factory=list)
    request_offsets: list[int] = field(default_factory=list)
    accounts: list[AccountCreated] = field(default_factory=list)
    account_offsets: list[int] = field(default_factory=list)
    malformed: list[tuple[Record, str, str]] = field(default_factory=list)
    """Record, category, detail."""

    def watch_columns(self) -> Columns:
        """offset, time, user_id, movie_id, minute."""
        offsets, times, users, movies, minutes = zip(*(row.split("\t") for row in self.watches), strict=True)
        return (
            pg_arrays.number_array(offsets),
            pg_arrays.text_array(times),
            pg_arrays.text_array(users),
            pg_arrays.text_array(movies),
            pg_arrays.number_array(minutes),
        )

    def rating_columns(self) -> Columns:
        """time, offset, user_id, movie_id, rating."""
        events = self.ratings
        return (
            pg_arrays.time_array([event.time for event in events]),
            pg_arrays.number_array(self.rating_offsets),
            pg_arrays.text_array([event.user_id for event in events]),
            pg_arrays.text_array([event.movie_id for event in events]),
            pg_arrays.number_array([event.rating for event in events]),
        )

    def request_columns(self) -> Columns:
        """time, offset, user_id, server, status, movie_ids joined by commas, result, response_ms."""
        events = self.requests
        return (
            pg_arrays.time_array([event.time for event in events]),
            pg_arrays.number_array(self.request_offsets),
            pg_arrays.text_array([event.user_id for event in events]),
            pg_arrays.text_array([event.server for event in events]),
            pg_arrays.number_array([event.status for event in events]),
            pg_arrays.text_array([",".join(event.movie_ids) for event in events]),
            pg_arrays.text_array([event.result for event in events]),
            pg_arrays.number_array([event.response_ms for event in events]),
        )

    def account_columns(self) -> Columns:
        """time, offset, user_id."""
        return (
            pg_arrays.time_array([event.time for event in self.accounts]),
            pg_arrays.number_array(self.account_offsets),
            pg_arrays.text_array([event.user_id for event in self.accounts]),
        )

    def quarantine_columns(self) -> Columns:
        """Kafka's time in milliseconds, offset, category, detail, raw bytes."""
        records = [record for record, _, _ in self.malformed]
        return (
            pg_arrays.number_array([record.timestamp_ms for record in records]),
            pg_arrays.number_array([record.offset for record in records]),
            pg_arrays.text_array([category for _, category, _ in self.malformed]),
            pg_arrays.text_array([storable(detail) for _, _, detail in self.malformed]),
            pg_arrays.binary_array([record.raw for record in records]),
        )


def parse_records(records: Sequence[Record], parser: EventParser) -> ParsedBatch:
    """Read each record's line and put it where it belongs; the order within each kind is kept."""
    lines = ParsedBatch()
    fields = parser.watches([record.text or "" for record in records])
    minutes = {minute: parser.utc_minute(minute) for minute in {found[0] for found in fields}}
    add = lines.watches.append
    for record, (local, rest, user_id, movie_id, minute) in zip(records, fields, strict=True):
        utc = minutes[local]
        if utc:
            add(f"{record.offset}\t{utc}{rest}+00\t{user_id}\t{movie_id}\t{minute}")
        else:
            _sort_one(lines, record, parser)
    return lines


def _sort_one(lines: ParsedBatch, record: Record, parser: EventParser) -> None:
    event = _NOT_UTF8 if record.text is None else parser.parse(record.text)
    if isinstance(event, Watch):
        time = event.time.isoformat()
        lines.watches.append(f"{record.offset}\t{time}\t{event.user_id}\t{event.movie_id}\t{event.minute}")
    elif isinstance(event, Rating):
        lines.ratings.append(event)
        lines.rating_offsets.append(record.offset)
    elif isinstance(event, RecommendationRequest):
        lines.requests.append(event)
        lines.request_offsets.append(record.offset)
    elif isinstance(event, AccountCreated):
        lines.accounts.append(event)
        lines.account_offsets.append(record.offset)
    else:
        lines.malformed.append((record, event.category, event.detail))


def storable(text: str) -> str:
    """``text`` without what PostgreSQL cannot hold: NUL and lone surrogates are written as escapes."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")
