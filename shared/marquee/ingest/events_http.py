"""HTTP API of events, independent of any framework.

POST /events          202 what was accepted and what was refused and why; 400 not a list of events
GET /events/schema    200 the JSON schema of an event
GET /healthz          200 while the process lives
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import msgspec

from marquee.config.access import AccessPolicy
from marquee.config.api_keys import WRITE
from marquee.config.request_wait import LoadShedder
from marquee.db.pool import Database
from marquee.db.privacy_marks import MarkReader
from marquee.errors import CallRefused, DatabaseRefused, DatabaseUnavailable, InvalidEvents
from marquee.events.json_records import JsonRecordParser, event_schema
from marquee.ingest.http_events import write_events

MAX_EVENTS = 1_000
MAX_EVENTS_BYTES = 4 * 2**20
MAX_WAIT_MS = 2_000
"""Waiting time after which a request is refused while others are written, as its caller may have given up."""
EVENTS, SCHEMA = "/events", "/events/schema"
TEXT, JSON = "text/plain; charset=utf-8", "application/json"

_log = logging.getLogger(__name__)
_encode = msgspec.json.Encoder().encode
_decode_list = msgspec.json.Decoder(list[msgspec.Raw]).decode


class EventsReply(msgspec.Struct, frozen=True):
    """HTTP response."""

    status: int
    body: bytes
    content_type: str = TEXT
    headers: Mapping[str, str] = {}


class EventsHttp:
    """Handler of requests; safe to share between threads. ``read_body`` of a request raises if it is too large."""

    def __init__(
        self, database: Database, parser: JsonRecordParser, access: AccessPolicy, reader: MarkReader | None = None
    ) -> None:
        self._database, self._parser, self._access = database, parser, access
        self._reader = reader or MarkReader()
        self._shedder = LoadShedder(MAX_WAIT_MS)

    def reply(self, environ: Mapping[str, Any], path: str, read_body: Callable[[], bytes]) -> EventsReply:
        """Answer one WSGI request. ``path`` is decoded."""
        method = str(environ["REQUEST_METHOD"])
        if path == SCHEMA:
            return _serve_schema() if method in ("GET", "HEAD") else _refuse_method(method, "GET, HEAD")
        if path != EVENTS:
            return text_reply(404, f"There is nothing at {path[:80]!a}. Use POST {EVENTS} or GET {SCHEMA}.")
        if method != "POST":
            return _refuse_method(method, "POST")
        try:
            source = self._access.admit(environ, WRITE).name
        except CallRefused as error:
            return text_reply(error.status, str(error), error.headers)
        with self._shedder.admit(environ) as admitted:
            if not admitted:
                reason = "More events arrive than can be written in time: send these again later."
                return text_reply(503, reason, {"Retry-After": "1"})
            return self._write(source, read_body)

    def _write(self, source: str, read_body: Callable[[], bytes]) -> EventsReply:
        try:
            receipt = write_events(self._database, source, split_events(read_body()), self._parser, self._reader)
        except InvalidEvents as error:
            return text_reply(400, str(error))
        except (DatabaseUnavailable, DatabaseRefused) as error:
            _log.error("answered 503: %s", error)
            return text_reply(503, "The database is unavailable: send the events again.", {"Retry-After": "1"})
        return EventsReply(202, _encode(receipt), JSON, {"Cache-Control": "no-store"})


def split_events(body: bytes) -> list[bytes]:
    """Return the JSON text of each event of a body: one object, or a list of 1 to MAX_EVENTS.

    Raises :class:`InvalidEvents` if the body is neither.
    """
    valid = f"one event, or a list of 1 to {MAX_EVENTS} events, as JSON in UTF-8 (GET {SCHEMA})"
    start = body.lstrip()[:1]
    if not start:
        raise InvalidEvents(f"The body is empty; it should be {valid}.")
    try:
        body.decode()
        if start == b"{":
            return [bytes(msgspec.json.decode(body, type=msgspec.Raw))]
        events = [bytes(event) for event in _decode_list(body)]
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise InvalidEvents(f"The body is not {valid}: {ascii(str(error))[1:-1][:120]}") from error
    if not 0 < len(events) <= MAX_EVENTS:
        raise InvalidEvents(f"The body has {len(events)} events; it should be {valid}.")
    return events


@cache
def _serve_schema() -> EventsReply:
    return EventsReply(200, msgspec.json.format(_encode(event_schema())), "application/schema+json")


def _refuse_method(method: str, allowed: str) -> EventsReply:
    return text_reply(405, f"{method[:20]} is not allowed here. Use {allowed}.", {"Allow": allowed})


def text_reply(status: int, text: str, headers: Mapping[str, str] = {}) -> EventsReply:
    """Return a reply with one sentence in ASCII."""
    return EventsReply(status, text.encode("ascii", "backslashreplace") + b"\n", TEXT, headers)
