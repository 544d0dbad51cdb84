"""The service's log: events become lines, some of them spoiled, all of them counted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo

from marquee.events.kinds import (
    EVENT_KINDS,
    KIND_OF_EVENT,
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

# 267 of 50,000 recorded lines were older than one before them, by at most 374 ms.
_DISORDER = 267 / 50_000
_LATEST_MS = 374


class EventLog:
    """Writes events to ``writer`` as lines in ``zone``, and keeps the tally.

    Customers' lines and requests' lines are spoiled by a corrupter each: when answers come must not
    change which of the customers' lines are hit.
    """

    def __init__(
        self,
        writer: RecordProducer,
        zone: tzinfo,
        parser: EventParser,
        customers: Corrupter,
        requests: Corrupter,
        *,
        disorder: bool = False,
    ) -> None:
        self.tally = DeliveryCounts()
        self.writer = writer
        self._zone, self._parser = zone, parser
        self._customers, self._requests = customers, requests
        self._disorder = int(_DISORDER * (1 << 32)) if disorder else 0
        self._state = 1
        self._entries = {kind.event_class: self.tally.entry(kind.name) for kind in EVENT_KINDS}

    def time(self) -> datetime:
        """The wall clock, to the millisecond; with disorder, now and then a moment ago."""
        now = datetime.now(UTC)
        now = now.replace(microsecond=now.microsecond // 1000 * 1000)
        if self._disorder:
            self._state = lcg_step(self._state)
            if self._state >> 32 < self._disorder:
                return now - timedelta(milliseconds=(self._state >> 16) % (_LATEST_MS + 1))
        return now

    def write(self, event: Event) -> None:
        """Log one event, or what is made of it."""
        text = format_event(event, self._zone)
        asked = type(event) is RecommendationRequest
        spoiled = (self._requests if asked else self._customers).spoil(text)
        if spoiled:
            entry = self.tally.entry(KIND_OF_EVENT[type(event)].name, spoiled.kind, spoiled.category)
            self.writer.write(spoiled.line, entry)
        elif asked:
            self._write_answer(text)
        else:
            self.writer.write(text.encode(), self._entries[type(event)])

    def _write_answer(self, text: str) -> None:
        # An answer is foreign text: it may make a line that nobody can read, and the account must know.
        read = self._parser.parse(text)
        category = read.category if isinstance(read, MalformedRecord) else None
        self.writer.write(text.encode(), self.tally.entry(RECOMMENDATION_REQUEST.name, None, category))
