"""Property tests of the parser: it never raises, formatting round-trips, and corruption is detected."""

from __future__ import annotations

import string
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from tests.events.real_records import FIVE, REAL, TEN, UTC_ZONE

from marquee.events.kinds import (
    AccountCreated,
    Category,
    Event,
    MalformedRecord,
    Rating,
    RecommendationRequest,
    Watch,
)
from marquee.events.log_scale import LogScale
from marquee.events.parser import EventParser, format_event

movie_ids = st.builds(
    lambda title, year: f"{title}+{year}",
    st.text(string.ascii_lowercase + string.digits + "+_.*-", max_size=40),
    st.one_of(st.just(""), st.integers(1000, 9999).map(str)),
)
user_ids = st.text(string.digits, min_size=1, max_size=20)
times = st.datetimes(datetime(1970, 1, 2), datetime(9990, 1, 1)).map(lambda time: time.replace(tzinfo=UTC))
whole_minutes = times.map(lambda time: time.replace(second=0, microsecond=0))
milliseconds = times.map(lambda time: time.replace(microsecond=time.microsecond // 1000 * 1000))
any_time = times | whole_minutes | milliseconds
servers = st.builds(
    "{}:{}".format,
    st.text(string.ascii_lowercase + string.digits + ".-", min_size=1, max_size=30),
    st.integers(1, 65535),
)
free_text = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=60)
response_times = st.integers(0, 999_999_999)
watches = st.builds(Watch, any_time, user_ids, movie_ids, st.integers(0, 9_999_999))
ratings = st.builds(Rating, any_time, user_ids, movie_ids, st.integers(1, 10))
answers = st.builds(
    RecommendationRequest,
    any_time,
    user_ids,
    servers,
    st.just(200),
    st.lists(movie_ids, max_size=20).map(tuple),
    st.just(""),
    response_times,
)
failures = st.builds(
    RecommendationRequest,
    any_time,
    user_ids,
    servers,
    st.sampled_from([0, 400, 404, 429, 500, 502, 503]),
    st.just(()),
    free_text,
    response_times,
)
events = watches | ratings | answers | failures | st.builds(AccountCreated, any_time, user_ids)
zones = st.sampled_from(["UTC", "America/New_York", "Europe/Berlin", "Asia/Kolkata", "Australia/Lord_Howe"]).map(
    ZoneInfo
)


@given(events, zones)
def test_format_event_then_parse_returns_event(event: Event, zone: ZoneInfo) -> None:
    """Holds in every zone except in an ambiguous hour, which the text cannot distinguish."""
    assume(event.time.astimezone(zone).fold == 0)
    assert EventParser(zone, LogScale(1, 10)).parse(format_event(event, zone)) == event


@given(events)
def test_parse_then_format_event_returns_record(event: Event) -> None:
    """An event has exactly one record."""
    line = format_event(event, UTC_ZONE)
    assert format_event(TEN.parse(line), UTC_ZONE) == line  # type: ignore[arg-type]


@given(st.text() | st.text(st.characters()))
@example("\ud800")
@example("2022-11-14T12:24,1,recommendation request a:1, status 500, result: \ud800\0, 1 ms")
@example("9999-12-31T23:59:59,1,GET /create_account")
@example("0001-01-01T00:00,1,GET /create_account")
def test_parse_any_text_does_not_raise(text: str) -> None:
    """Includes lone surrogates, NUL and the limits of time, in any zone."""
    for zone in ("UTC", "America/New_York", "Pacific/Kiritimati"):
        assert isinstance(EventParser(ZoneInfo(zone)).parse(text), Event | MalformedRecord)


@given(events, st.data())
def test_parse_mutated_record_does_not_raise(event: Event, data: st.DataObject) -> None:
    """Any part of a record may be replaced by any text."""
    line = format_event(event, UTC_ZONE)
    start = data.draw(st.integers(0, len(line)))
    end = data.draw(st.integers(start, len(line)))
    assert isinstance(FIVE.parse(line[:start] + data.draw(st.text()) + line[end:]), Event | MalformedRecord)


@given(watches | ratings | st.builds(AccountCreated, any_time, user_ids) | answers | failures, st.data())
def test_parse_inserted_character_never_returns_same_event(event: Event, data: st.DataObject) -> None:
    """The most common corruption is detected or changes the event; it is never ignored."""
    line = format_event(event, UTC_ZONE)
    place = data.draw(st.integers(0, len(line)))
    character = data.draw(st.sampled_from(" " + string.ascii_letters + string.digits))
    corrupt = TEN.parse(line[:place] + character + line[place:])
    assert corrupt != event


BLANK_OR_CAPITAL = [" ", "Q"]


@pytest.mark.parametrize("character", BLANK_OR_CAPITAL)
@pytest.mark.parametrize("line", [line for line, event in REAL.items() if not isinstance(event, RecommendationRequest)])
def test_parse_inserted_blank_or_capital_is_malformed(line: str, character: str) -> None:
    """No part of a watch, a rating or an account record contains either."""
    for place in range(len(line) + 1):
        assert isinstance(TEN.parse(line[:place] + character + line[place:]), MalformedRecord)


@given(st.text(string.ascii_letters + string.digits, min_size=10, max_size=53))
def test_parse_random_string_as_movie_id_is_malformed(movie_id: str) -> None:
    """Letters and digits alone are not a movie id."""
    malformed = FIVE.parse(f"2022-11-14T12:24,1,GET /data/m/{movie_id}/0.mpg")
    assert isinstance(malformed, MalformedRecord)
    assert malformed.category is Category.MOVIE_ID


def test_parse_hostile_records_takes_linear_time() -> None:
    """No backtracking: half a megabyte of anything is rejected within the suite's time limit."""
    head = "2022-11-14T12:24,1,"
    for line in (
        "1" * 500_000,
        head + "GET /data/m/" + "+" * 500_000 + "/1.mpg",
        head + "GET /rate/" + "+1999" * 100_000,
        head + "recommendation request a:1, status 200, result: " + "a+, " * 125_000 + "!, 3 ms",
        head + "recommendation request a:1, status 500, result: " + ", 1 m" * 100_000,
    ):
        assert isinstance(FIVE.parse(line), MalformedRecord)
