"""Tests of the table of event kinds: it is complete, unambiguous and known to the parser."""

from __future__ import annotations

from typing import get_args

import pytest
from tests.events.json_examples import EXAMPLES
from tests.events.real_records import REAL, TEN, UTC_ZONE

from marquee.events.json_records import JsonRecordParser, event_schema
from marquee.events.kinds import EVENT_KINDS, KIND_OF_EVENT, LOG_KINDS, Event, EventKind, LogKind, MalformedRecord
from marquee.events.parser import format_event

EACH_KIND = pytest.mark.parametrize("kind", EVENT_KINDS, ids=lambda kind: kind.name)
EACH_LOG_KIND = pytest.mark.parametrize("kind", LOG_KINDS, ids=lambda kind: kind.name)


def test_event_kinds_cover_every_event_class() -> None:
    """Each class of the union ``Event`` has exactly one kind."""
    assert [kind.event_class for kind in EVENT_KINDS] == list(KIND_OF_EVENT)
    assert set(KIND_OF_EVENT) == set(get_args(Event))


def test_event_kinds_are_unambiguous() -> None:
    """Names and tables are unique, and no request can have the prefix of two kinds."""
    for attribute in ("name", "table"):
        assert len({getattr(kind, attribute) for kind in EVENT_KINDS}) == len(EVENT_KINDS)
    prefixes = [kind.prefix for kind in LOG_KINDS]
    assert len(set(prefixes)) == len(LOG_KINDS)
    assert not [a for a in prefixes for b in prefixes if a != b and a.startswith(b)]


@EACH_LOG_KIND
def test_event_kind_parses_formats_and_diagnoses(kind: LogKind) -> None:
    """The real records of a kind round-trip, and a request that only has its prefix is malformed."""
    records = {text: event for text, event in REAL.items() if isinstance(event, kind.event_class)}
    assert records
    for text, event in records.items():
        assert TEN.parse(text) == event
        assert format_event(event, UTC_ZONE) == text
        assert isinstance(TEN.parse(text + "\0"), MalformedRecord)
    assert isinstance(kind.diagnose(kind.prefix + "\0"), MalformedRecord)


@EACH_KIND
def test_event_kind_columns_are_attributes_of_its_events(kind: EventKind) -> None:
    """Row encoding reads each column from the attribute of the same name."""
    for event in EXAMPLES.values():
        if isinstance(event, kind.event_class):
            assert [hasattr(event, column.name) for column in kind.columns] == [True] * len(kind.columns)


@EACH_KIND
def test_event_kind_has_a_json_form(kind: EventKind) -> None:
    """The JSON of a kind has its name as the type, parses to its class, and is in the published schema."""
    (event,) = [event for event in EXAMPLES.values() if isinstance(event, kind.event_class)]
    (text,) = [text for text, example in EXAMPLES.items() if example is event]
    assert JsonRecordParser().parse(text) == event
    assert event_schema()["discriminator"]["mapping"][kind.name] == f"#/$defs/{kind.event_class.__name__}"
