"""Handling of deliveries in ``ingest``: each is written, stored as rejected, or to be sent again."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from marquee.db.pool import Database
from marquee.errors import DataRefused, InvalidBatch
from marquee.events.batches import ImpressionBatch, StreamBatch
from marquee.events.envelopes import from_http, open_envelope
from marquee.events.parser import EventParser
from marquee.ingest.store import WriteCounts, store_rejected, write_batch, write_impressions

_log = logging.getLogger(__name__)

_INT4, _INT8 = 2**31, 2**63
# An index entry has at most 2,704 bytes, and the name of a Kafka topic at most 249 characters.
_MAX_KEY_LENGTH = 250
# The year 9999 in milliseconds: later times cannot be read back.
_MAX_TIMESTAMP_MS = 253_402_300_799_000
# The headers that are stored with a rejected event; others may hold credentials.
_STORED_HEADERS = ("content-type", "content-length", "user-agent", "traceparent", "x-cloud-trace-context")


@dataclass(frozen=True, slots=True)
class RejectedEvent:
    """A delivery that is not a valid event; sending it again cannot help."""

    reason: str


class IngestHandler:
    """Handler of deliveries; safe to share between threads."""

    def __init__(self, database: Database, parser: EventParser) -> None:
        self._database = database
        self._parser = parser

    def accept(self, headers: Mapping[str, str], body: bytes) -> WriteCounts | RejectedEvent:
        """Write the batch of a request.

        Raises DatabaseUnavailable or DatabaseRefused if the request has to be sent again.
        """
        try:
            return self._write(_check_storable(open_envelope(from_http(headers, body))))
        except (InvalidBatch, DataRefused) as error:
            return self._reject(str(error), headers, body)

    def _write(self, batch: StreamBatch | ImpressionBatch) -> WriteCounts:
        if isinstance(batch, ImpressionBatch):
            return write_impressions(self._database, batch)
        return write_batch(self._database, batch, self._parser)

    def _reject(self, reason: str, headers: Mapping[str, str], body: bytes) -> RejectedEvent:
        lowered = {name.lower(): value for name, value in headers.items()}
        stored = {name: value for name, value in lowered.items() if _is_stored(name)}
        store_rejected(self._database, reason, stored, body)
        _log.error("rejected an event of %d bytes, stored in rejected_events: %s", len(body), reason)
        return RejectedEvent(reason)


def _is_stored(header: str) -> bool:
    return header.startswith("ce-") or header in _STORED_HEADERS


def _check_storable(batch: StreamBatch | ImpressionBatch) -> StreamBatch | ImpressionBatch:
    """Return ``batch`` if the tables can hold it; raises InvalidBatch."""
    problem = (
        _find_stream_problem(batch) if isinstance(batch, StreamBatch) else _find_impression_problem(batch)
    )
    if problem:
        raise InvalidBatch(f"{batch.id[:_MAX_KEY_LENGTH]!a} cannot be stored: {problem}")
    return batch


def _find_stream_problem(batch: StreamBatch) -> str | None:
    if not 0 <= batch.partition < _INT4:
        return f"partition {batch.partition} is out of range"
    if not 0 <= batch.records[0].offset <= batch.records[-1].offset < _INT8 - 1:
        return "an offset is out of range"
    timestamps_ms = [record.timestamp_ms for record in batch.records]
    if not -1 <= min(timestamps_ms) <= max(timestamps_ms) <= _MAX_TIMESTAMP_MS:
        return "a record's time is before 1970 or after 9999"
    if "\0" in batch.topic + batch.topic_id or max(len(batch.topic), len(batch.topic_id)) > _MAX_KEY_LENGTH:
        return f"its topic or topic id holds NUL, or is longer than {_MAX_KEY_LENGTH} characters"
    return None


def _find_impression_problem(batch: ImpressionBatch) -> str | None:
    if b"\\u0000" in msgspec.json.encode(batch):
        return "it holds NUL"
    for impression in batch.impressions:
        if not -_INT4 <= impression.release < _INT4:
            return f"release {impression.release} is out of range"
        if max(len(impression.id), len(impression.user_id)) > _MAX_KEY_LENGTH:
            return f"an id is longer than {_MAX_KEY_LENGTH} characters"
    return None
