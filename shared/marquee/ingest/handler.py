"""Handling of requests to ``ingest``, which are written, stored as rejected events, or refused for a retry."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass

from marquee.db.pool import Database
from marquee.db.privacy_marks import MarkReader
from marquee.errors import DataRefused, InvalidBatch
from marquee.events.batches import ImpressionBatch, StreamBatch
from marquee.events.envelopes import BATCH_TYPES, Envelope, from_http, open_envelope, to_http
from marquee.events.parser import EventParser
from marquee.ingest.salvage import salvage
from marquee.ingest.storable import find_batch_problem, find_impression_problem
from marquee.ingest.store import WriteCounts, store_rejected, write_batch, write_impressions

_log = logging.getLogger(__name__)

# The headers that are stored with a rejected event; others may hold credentials.
_STORED_HEADERS = (
    "content-type",
    "content-length",
    "content-encoding",
    "user-agent",
    "traceparent",
    "x-cloud-trace-context",
)


@dataclass(frozen=True, slots=True)
class RejectedEvent:
    """A request that is not a valid CloudEvent, so that a retry cannot succeed."""

    reason: str


class IngestHandler:
    """Handler of requests; safe to share between threads. ``reader`` finds the marked users."""

    def __init__(self, database: Database, parser: EventParser, reader: MarkReader | None = None) -> None:
        self._database = database
        self._reader = reader or MarkReader()
        self._parser = parser

    def accept(self, headers: Mapping[str, str], body: bytes) -> WriteCounts | RejectedEvent:
        """Write the batch of a request, and store its invalid elements as rejected events.

        Raises :class:`DatabaseUnavailable` or :class:`DatabaseRefused` if the request must be sent again, and
        :class:`TopicRecreated` for records of a recreated topic, whose offsets are already in use.
        """
        try:
            envelope = from_http(headers, body)
            batch = _open_storable(envelope)
            return self._write_valid(envelope) if batch is None else self._write(batch)
        except (InvalidBatch, DataRefused) as error:
            return self._reject(str(error), headers, body)

    def _write(self, batch: StreamBatch | ImpressionBatch) -> WriteCounts:
        if isinstance(batch, ImpressionBatch):
            return write_impressions(self._database, batch, self._reader)
        return write_batch(self._database, batch, self._parser, self._reader)

    def _write_valid(self, envelope: Envelope) -> WriteCounts:
        """Write the valid elements, then the rejected ones; a failed request is repeated as a whole."""
        salvaged = salvage(envelope)
        written = self._write(salvaged.batch)
        for refused in salvaged.refused:
            self._reject(refused.reason, *to_http(refused.envelope))
        return written

    def _reject(self, reason: str, headers: Mapping[str, str], body: bytes) -> RejectedEvent:
        lowered = {name.lower(): value for name, value in headers.items()}
        stored = {name: value for name, value in lowered.items() if _is_stored(name)}
        store_rejected(self._database, reason, stored, body, self._reader)
        _log.error("rejected an event of %d bytes, stored in rejected_events: %s", len(body), _printable(reason))
        return RejectedEvent(reason)


def _printable(text: str) -> str:
    """Return ``text`` as one line of ASCII: parts of it come from the sender."""
    return re.sub(r"[^ -~]", lambda match: ascii(match[0])[1:-1], text)


def _is_stored(header: str) -> bool:
    return header.startswith("ce-") or header in _STORED_HEADERS


def _open_storable(envelope: Envelope) -> StreamBatch | ImpressionBatch | None:
    """Return the batch of a CloudEvent of Marquee; None if some of its elements are invalid."""
    try:
        batch = open_envelope(envelope)
    except InvalidBatch:
        if envelope.type not in BATCH_TYPES:
            raise
        return None
    if isinstance(batch, StreamBatch):
        return None if find_batch_problem(batch) else batch
    return None if any(map(find_impression_problem, batch.impressions)) else batch
