"""Tests of the parser of JSON records: it is total, says what is wrong, and agrees with the published schema."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import jsonschema
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.events.json_examples import EXAMPLES, MOVIE, make_event, rating

from marquee.events.json_records import JsonRecordParser, event_schema, read_event_id
from marquee.events.kinds import Category, MalformedRecord, Rating
from marquee.events.parser import EventParser

ROOT = Path(__file__).parents[2]
PARSER = JsonRecordParser()
SCHEMA = jsonschema.Draft202012Validator(event_schema(), format_checker=jsonschema.FormatChecker())
MALFORMED = [
    (Category.EMPTY, " "),
    (Category.JSON, "[]"),
    (Category.JSON, '{"id": "1"'),
    (Category.JSON, rating("1", schema=2)),
    (Category.EVENT_ID, rating("")),
    (Category.EVENT_ID, rating("x" * 129)),
    (Category.EVENT_ID, make_event("click", recommendation_id="a,b", movie_id=MOVIE)),
    (Category.REQUEST, make_event("like", movie_id=MOVIE)),
    (Category.TIME, rating("1", time="2026-02-14T12:00:02")),
    (Category.TIME, rating("1", time="2026-02-31T12:00:02Z")),
    (Category.TIME, rating("1", time="1969-12-31T23:59:59Z")),
    (Category.USER_ID, rating("1", user_id="a/b")),
    (Category.USER_ID, rating("1", user_id="7\n")),
    (Category.MOVIE_ID, rating("1", movie_id="back\\slash")),
    (Category.MOVIE_ID, make_event("impression_shown", recommendation_id="r", movie_ids=[])),
    (Category.MINUTE, make_event("watch", movie_id=MOVIE, minute=-1)),
    (Category.RATING, rating("1", rating=6)),
    (Category.RATING, rating("1", rating=0)),
    (Category.RATING, make_event("rating", movie_id=MOVIE, rating=4.5)),
    (
        Category.RECOMMENDATION,
        make_event("recommendation_request", server="a:1", status=503, movie_ids=[MOVIE], result="", response_ms=1),
    ),
]


@pytest.mark.parametrize(("category", "text"), MALFORMED)
def test_parse_malformed_record_says_which_part(category: Category, text: str) -> None:
    """Each malformed record has the category of the part that is wrong, and a detail in ASCII."""
    result = PARSER.parse(text)
    assert isinstance(result, MalformedRecord), result
    assert result.category is category, result
    assert result.detail.isascii()


def test_parse_malformed_record_says_what_is_valid() -> None:
    """The kinds of events, the form of a time and the version, where a sender most often goes wrong."""
    like, local = PARSER.parse(make_event("like", movie_id=MOVIE)), PARSER.parse(rating("1", time="2026-02-14T12:00"))
    assert isinstance(like, MalformedRecord)
    assert like.detail.endswith("use watch, rating, recommendation_request, account, impression_shown, click")
    assert isinstance(local, MalformedRecord)
    assert local.detail.endswith("as in 2026-11-30T12:00:02Z")
    later = PARSER.parse(rating("1", schema=2))
    assert isinstance(later, MalformedRecord)
    assert later.detail.endswith("use 1, or leave it out")


def test_event_schema_descriptions_are_markdown() -> None:
    """They come from docstrings, whose indents and double backticks mean nothing to a reader of the schema."""
    assert not [text for text in json.dumps(event_schema()).split('"') if "``" in text or "\\n    " in text]


def test_parse_any_zone_gives_utc() -> None:
    """A time with an offset is stored in UTC."""
    event = PARSER.parse(rating("1", time="2026-02-14T14:00:02.250+02:00"))
    assert event == Rating(datetime(2026, 2, 14, 12, 0, 2, 250_000, UTC), "7", MOVIE, 4)


@given(st.text() | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps))
@example('{"id":"1","time":"9999-12-31T23:59:59-23:59","type":"account","user_id":"1"}')
@example("[" * 5_000)
@example('"\\ud800"')
def test_parse_any_text_is_total(text: str) -> None:
    """No text raises, and what is malformed has a reason."""
    assert PARSER.parse(text) is not None
    assert read_event_id(text.encode(errors="surrogatepass")) is None or "{" in text


@pytest.mark.parametrize("text", EXAMPLES)
def test_schema_accepts_what_parses(text: str) -> None:
    """A validator of JSON Schema accepts the examples, and refuses what the parser refuses in form."""
    SCHEMA.validate(json.loads(text))
    assert not SCHEMA.is_valid(json.loads(text) | {"user_id": "a,b"})
    assert not SCHEMA.is_valid({name: value for name, value in json.loads(text).items() if name != "id"})


def test_schema_file_is_current() -> None:
    """docs/events.schema.json is what the code publishes; `make docs` writes it."""
    assert json.loads((ROOT / "docs/events.schema.json").read_text()) == event_schema()


def test_event_parser_recognizes_both_formats() -> None:
    """Text and JSON of the same rating give the same event, so that a topic may hold both without a setting."""
    either = EventParser(UTC)
    from_text = either.parse(f"2026-02-14T12:00:02.250,7,GET /rate/{MOVIE}=4")
    assert isinstance(from_text, Rating)
    assert from_text == either.parse(" " + rating("1"))
