"""The event log of the streaming service: events formatted as records, some corrupted, all counted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo

from marquee.events.kinds import (
    KIND_OF_EVENT,
    LOG_KINDS,
    RECOMMENDATION_REQUEST,
    Event,
    MalformedRecord,
    RecommendationRequest,
)
from marquee.events.parser import EventParser, format_event
from marquee.simulate.corruption import Corrupter
from marquee.simulate.delivery_counts import DeliveryCounts
from marquee.simulate.hashed_rng import lcg_step
from marquee.simulate.producer import RecordProducer

# Of 50,000 recorded records, 267 were older than a record before them, by at most 374 ms.
_DISORDER = 267 / 50_000
_MAX_DELAY_MS = 374


class EventLog:
    """Writer of events to ``producer``, as records in the time zone ``zone``; :attr:`counts` counts them.

    Users' events and requests have a corrupter each: the time at which responses arrive must not change
    which of the users' records are corrupted. ``disorder`` gives some records an earlier time.
    """

    def __init__(
        self,
        producer: RecordProducer,
        zone: tzinfo,
        parser: EventParser,
        user_corrupter: Corrupter,
        request_corrupter: Corrupter,
        *,
        disorder: bool = False,
    ) -> None:
        self.counts = DeliveryCounts()
        self.producer = producer
        self._zone, self._parser = zone, parser
        self._user_corrupter, self._request_corrupter = user_corrupter, request_corrupter
        self._disorder = int(_DISORDER * (1 << 32)) if disorder else 0
        self._state = 1
        self._groups = {kind.event_class: self.counts.group(kind.name) for kind in LOG_KINDS}

    def current_time(self) -> datetime:
        """Return the wall-clock time in milliseconds; with disorder, occasionally an earlier time."""
        now = datetime.now(UTC)
        now = now.replace(microsecond=now.microsecond // 1000 * 1000)
        if self._disorder:
            self._state = lcg_step(self._state)
            if self._state >> 32 < self._disorder:
                return now - timedelta(milliseconds=(self._state >> 16) % (_MAX_DELAY_MS + 1))
        return now

    def write(self, event: Event) -> None:
        """Write ``event`` as a record, clean or corrupted."""
        text = format_event(event, self._zone)
        is_request = type(event) is RecommendationRequest
        corrupted = (self._request_corrupter if is_request else self._user_corrupter).corrupt(text)
        if corrupted:
            group = self.counts.group(KIND_OF_EVENT[type(event)].name, corrupted.kind, corrupted.category)
            self.producer.write(corrupted.raw, group)
        elif is_request:
            self._write_request(text)
        else:
            self.producer.write(text.encode(), self._groups[type(event)])

    def write_unchanged(self, event: Event) -> None:
        """Write ``event`` as a clean record: the request of a real user is not corrupted."""
        self.producer.write(format_event(event, self._zone).encode(), self._groups[type(event)])

    def _write_request(self, text: str) -> None:
        # The response is foreign text. It may make the record malformed, and the counts must show that.
        parsed = self._parser.parse(text)
        category = parsed.category if isinstance(parsed, MalformedRecord) else None
        self.producer.write(text.encode(), self.counts.group(RECOMMENDATION_REQUEST.name, None, category))
