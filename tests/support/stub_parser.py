"""A parser with predetermined results, in place of an older, newer or faulty one."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from marquee.events.kinds import Event, MalformedRecord, RecommendationRequest
from marquee.events.parser import EventParser

_TIME = datetime(2026, 2, 14, tzinfo=UTC)
UNSTORABLE_EVENTS: Mapping[str, Event] = {
    "nul": RecommendationRequest(_TIME, "1", "a:1", 500, (), "\0", 1),
    "huge": RecommendationRequest(_TIME, "1", "a:1", 500, (), "x", 2**40),
}
"""Events that no table can hold, by the text that a faulty parser would accept."""


class StubParser(EventParser):
    """A parser in UTC that returns ``events`` for their texts, and ignores ``ignored_prefix`` elsewhere."""

    def __init__(self, events: Mapping[str, Event] | None = None, *, ignored_prefix: str = "") -> None:
        super().__init__(UTC)
        self._events = events or {}
        self._ignored_prefix = ignored_prefix

    def parse(self, text: str) -> Event | MalformedRecord:
        """Return the predetermined event, or that of the real parser."""
        return self._events.get(text) or super().parse(text.removeprefix(self._ignored_prefix))
