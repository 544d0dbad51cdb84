"""What the function ``ingest`` does with a delivery: written, or kept as rejected, or to be sent again."""

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
from marquee.ingest.store import WriteCounts, keep_rejected, write_batch, write_impressions

_log = logging.getLogger(__name__)

_INT4, _INT8 = 2**31, 2**63
# A key's entry in an index is at most 2,704 bytes, and a Kafka topic's name at most 249.
_KEY_LENGTH = 250
# The year 9999, in milliseconds: later ones cannot be read back.
_LAST_MS = 253_402_300_799_000
# Only these are kept with a rejected event: others may hold credentials.
_HEADERS_KEPT = ("content-type", "content-length", "user-agent", "traceparent", "x-cloud-trace-context")


@dataclass(frozen=True, slots=True)
class RejectedEvent:
    """A delivery that was none of our events, and that no repetition can mend."""

    reason: str


class IngestHandler:
    """Takes deliveries; safe to share between threads."""

    def __init__(self, database: Database, parser: EventParser) -> None:
        self._database = database
        self._parser = parser

    def accept(self, headers: Mapping[str, str], body: bytes) -> WriteCounts | RejectedEvent:
        """Write what a request brought.

        Raises DatabaseUnavailable or DatabaseRefused: then it has to come again.
        """
        try:
            return self._write(_checked(open_envelope(from_http(headers, body))))
        except (InvalidBatch, DataRefused) as error:
            return self._reject(str(error), headers, body)

    def _write(self, batch: StreamBatch | ImpressionBatch) -> WriteCounts:
        if isinstance(batch, ImpressionBatch):
            return write_impressions(self._database, batch)
        return write_batch(self._database, batch, self._parser)

    def _reject(self, reason: str, headers: Mapping[str, str], body: bytes) -> RejectedEvent:
        kept = {name.lower(): value for name, value in headers.items() if _is_kept(name.lower())}
        keep_rejected(self._database, reason, kept, body)
        _log.error("rejected an event of %d bytes, kept in rejected_events: %s", len(body), reason)
        return RejectedEvent(reason)


def _is_kept(header: str) -> bool:
    return header.startswith("ce-") or header in _HEADERS_KEPT


def _checked(batch: StreamBatch | ImpressionBatch) -> StreamBatch | ImpressionBatch:
    """``batch``, if the tables can hold it; raises InvalidBatch."""
    problem = _problem_of_stream(batch) if isinstance(batch, StreamBatch) else _problem_of_impressions(batch)
    if problem:
        raise InvalidBatch(f"{batch.id[:_KEY_LENGTH]!a} cannot be stored: {problem}")
    return batch


def _problem_of_stream(batch: StreamBatch) -> str | None:
    if not 0 <= batch.partition < _INT4:
        return f"its partition is {batch.partition}, which no partition is"
    if not 0 <= batch.records[0].offset <= batch.records[-1].offset < _INT8 - 1:
        return "its offsets are none of Kafka's"
    if (
        not -1
        <= min([r.timestamp_ms for r in batch.records])
        <= max([r.timestamp_ms for r in batch.records])
        <= _LAST_MS
    ):
        return "a record's time is before 1970 or after 9999"
    if "\0" in batch.topic + batch.topic_id or max(len(batch.topic), len(batch.topic_id)) > _KEY_LENGTH:
        return f"its topic or stream holds NUL, or is longer than {_KEY_LENGTH} characters"
    return None


def _problem_of_impressions(batch: ImpressionBatch) -> str | None:
    if b"\\u0000" in msgspec.json.encode(batch):
        return "it holds NUL"
    for impression in batch.impressions:
        if not -_INT4 <= impression.release < _INT4:
            return f"release {impression.release} is out of range"
        if max(len(impression.id), len(impression.user_id)) > _KEY_LENGTH:
            return f"an id is longer than {_KEY_LENGTH} characters"
    return None
