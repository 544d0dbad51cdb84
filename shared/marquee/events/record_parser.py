"""Parsers of the two formats of records."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Protocol

from marquee.events.batches import JSON, TEXT
from marquee.events.event import Event
from marquee.events.json_records import JsonRecordParser
from marquee.events.kinds import MalformedRecord
from marquee.events.parser import EventParser


class RecordParser(Protocol):
    """A total parser of records of one format."""

    def parse(self, text: str) -> Event | MalformedRecord:
        """Return the event in a record's text, or the reason why there is none. Never raises."""
        ...


Parsers = Mapping[str, RecordParser]
"""The parser of each format."""


def parsers_with(text: EventParser) -> Parsers:
    """Return the parser of each format; ``text`` is that of the event log's text."""
    return MappingProxyType({TEXT: text, JSON: JsonRecordParser(text.rating_max)})


class EitherFormatParser:
    """Parser of records of unknown format: no valid text begins with a brace, and every JSON record does."""

    def __init__(self, text: EventParser) -> None:
        self._text, self._json = text, JsonRecordParser(text.rating_max)

    def parse(self, text: str) -> Event | MalformedRecord:
        """Return the event in a record's text, or the reason why there is none. Never raises."""
        return (self._json if text.lstrip().startswith("{") else self._text).parse(text)
