"""Parser tests: every text is an event or has a category; the real records and every known fault."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
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
from marquee.events.parser import EventParser, format_event
from marquee.events.record_syntax import is_movie_id, is_user_id

NEW_YORK = ZoneInfo("America/New_York")


@pytest.mark.parametrize(("line", "event"), REAL.items(), ids=range(len(REAL)))
def test_parse_and_format_real_records_are_inverse(line: str, event: Event) -> None:
    """Each known format round-trips exactly."""
    assert TEN.parse(line) == event
    assert format_event(event, UTC_ZONE) == line


@pytest.mark.parametrize(
    "movie_id",
    [
        "krakatoa_+east+of+java+1969",
        "thelma++louise+1991",
        "m*a*s*h+1970",
        "61*+2001",
        "+nos+amours+1983",
        "endeavour+",
        "gladiator+1992+1992",
        "spider-man+2002",
        "vol.+2+2017",
    ],
)
def test_is_movie_id_known_shapes_are_accepted(movie_id: str) -> None:
    """The year may be missing or doubled, and a title may begin with a plus or contain rare characters."""
    assert is_movie_id(movie_id)
    event = FIVE.parse(f"2022-11-14T12:24,1,GET /data/m/{movie_id}/0.mpg")
    assert event == Watch(datetime(2022, 11, 14, 12, 24, tzinfo=UTC), "1", movie_id, 0)


@pytest.mark.parametrize(
    ("fraction", "microsecond"),
    [("", 0), (":07", 0), (":07.125", 125000), (":07.125250", 125250), (":07.125250999", 125250)],
)
def test_parse_time_fractions_are_truncated_to_microseconds(fraction: str, microsecond: int) -> None:
    """A fraction has 0, 3, 6 or 9 digits; nanoseconds are truncated, not rounded."""
    event = FIVE.parse(f"2022-11-14T12:24{fraction},1,GET /create_account")
    second = 7 if fraction else 0
    assert event == AccountCreated(datetime(2022, 11, 14, 12, 24, second, microsecond, tzinfo=UTC), "1")


def test_parse_minute_beyond_movie_end_is_accepted() -> None:
    """Real logs contain minute 1063; such a record is valid."""
    event = FIVE.parse("2022-11-14T12:24,1,GET /data/m/a+2000/1063.mpg")
    assert isinstance(event, Watch)
    assert event.minute == 1063


def test_parse_time_is_converted_from_zone_to_utc() -> None:
    """The offset is that of the day: -5 h in winter, -4 h in summer."""
    parser = EventParser(NEW_YORK)
    for month, hour in ((1, 17), (7, 16), (1, 17)):
        event = parser.parse(f"2022-{month:02}-14T12:24,1,GET /create_account")
        assert event == AccountCreated(datetime(2022, month, 14, hour, 24, tzinfo=UTC), "1")


def test_parse_time_ambiguous_hour_is_first_and_skipped_hour_is_shifted() -> None:
    """In New York, 01:30 occurs twice on 2022-11-06, and 02:30 does not exist on 2022-03-13."""
    parser = EventParser(NEW_YORK)
    twice = parser.parse("2022-11-06T01:30,1,GET /create_account")
    never = parser.parse("2022-03-13T02:30,1,GET /create_account")
    assert twice == AccountCreated(datetime(2022, 11, 6, 5, 30, tzinfo=UTC), "1")
    assert never == AccountCreated(datetime(2022, 3, 13, 7, 30, tzinfo=UTC), "1")


def test_parse_many_minutes_keeps_bounded_cache() -> None:
    """The cache of UTC offsets is bounded, and eviction does not change results."""
    parser = EventParser(NEW_YORK)
    start = datetime(2022, 1, 1)
    for minute in range(0, 2_000_000, 199):
        local = start + timedelta(minutes=minute)
        event = parser.parse(f"{local.isoformat(timespec='minutes')},1,GET /create_account")
        assert event == AccountCreated(local.replace(tzinfo=NEW_YORK).astimezone(UTC), "1")
    assert parser.cached_minutes <= 4096


@pytest.mark.parametrize(("parser", "top"), [(FIVE, 5), (TEN, 10)])
def test_parse_rating_outside_scale_is_malformed(parser: EventParser, top: int) -> None:
    """Only whole numbers from 1 to the top of the scale are ratings: 10 on a scale of 5 is not 1."""
    for text in [*map(str, range(0, 13)), "", "-1", "1.0", "01", "+1", "٣", "5 ", "E", "100"]:
        event = parser.parse(f"2022-11-14T12:24,1,GET /rate/a+2000={text}")
        if text in map(str, range(1, top + 1)):
            assert event == Rating(datetime(2022, 11, 14, 12, 24, tzinfo=UTC), "1", "a+2000", int(text))
        else:
            assert isinstance(event, MalformedRecord)
            assert event.category is Category.RATING


def _request_record(answer: str) -> str:
    return f"2022-11-14T12:24,1,recommendation request team12.example.edu:8082, {answer}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "no route to host: 192.0.2.130:8082, giving up, 7 ms",
            "no route to host: 192.0.2.130:8082, giving up, 7 ms",
        ),
        ("status 200, result: a+, 5 ms", "status 200, result: a+, 5 ms"),
        ("<html>\n\t<b>Bad gateway</b>\n</html>", "<html>\n\t<b>Bad gateway</b>\n</html>"),
        ("", ""),
        ("Größe überschritten", "Größe überschritten"),
    ],
)
def test_parse_failed_request_result_is_free_text(text: str, expected: str) -> None:
    """The text may contain commas, colons, and what looks like the end of a record."""
    event = FIVE.parse(_request_record(f"status 502, result: {text}, 812 ms"))
    assert isinstance(event, RecommendationRequest)
    assert (event.status, event.movie_ids, event.result, event.response_ms) == (502, (), expected, 812)


def test_parse_empty_movie_list_is_valid_answer() -> None:
    """An answer without movies is a valid event."""
    event = FIVE.parse(_request_record("status 200, result: , 12 ms"))
    assert isinstance(event, RecommendationRequest)
    assert (event.movie_ids, event.result) == ((), "")


LIST = "status 200, result: fight+club+1999, m*a*s*h+1970, 59 ms"

MALFORMED = {
    Category.EMPTY: ["", " ", "\n"],
    Category.TIME: [
        "2022-11-1 4T12:23:14,199776,GET /create_account",
        "2022-11-14T1O2:23:16,199776,GET /create_account",
        "2024-170-14T15:34:12,1,GET /create_account",
        "2022-11-14T12:23:14.8720159,1,GET /create_account",
        "2022-11-14T12:23:14.,1,GET /create_account",
        "2022-11-14 12:23:14,1,GET /create_account",
        "2022-11-14T12:23:14Z,1,GET /create_account",
        "2022-11-14T12,1,GET /create_account",
        "2022-02-31T12:23,1,GET /create_account",
        "2022-11-14T24:23,1,GET /create_account",
        "0000-11-14T12:23,1,GET /create_account",
        " 2022-11-14T12:23,1,GET /create_account",
        "٢022-11-14T12:23,1,GET /create_account",
        "no comma at all",
    ],
    Category.USER_ID: [
        "2022-11-14T12:24,387336 ,GET /data/m/a+2000/1.mpg",
        "2022-11-14T12:24,N671040,GET /data/m/a+2000/1.mpg",
        "2022-11-14T12:24,,GET /create_account",
        "2022-11-14T12:24,-1,GET /create_account",
        "2022-11-14T12:24,١,GET /create_account",
        "2022-11-14T12:24," + "1" * 21 + ",GET /create_account",
        "2022-11-14T12:24",
    ],
    Category.REQUEST: [
        "2022-11-14T12:24,1,GET /d ata/m/a+2000/1.mpg",
        "2022-11-14T12:24,1,GZET /data/m/a+2000/1.mpg",
        "2022-11-14T12:24,1,GET /rat4e/a+2000=3",
        "2022-11-14T12:24,1,GET /create_account ",
        "2022-11-14T12:24,1,GET /create_account\n",
        "2022-11-14T12:24,1,recommendation requests a:1",
        "2022-11-14T12:24,1,",
        "2022-11-14T12:24,1",
    ],
    Category.MOVIE_ID: [
        "2022-11-14T12:24,1,GET /data/m/q8fJ2kd0XyTz/17.mpg",
        "2022-11-14T12:24,1,GET /data/m/q8fj2kd0xytz9f3m5b7v1c2x4z6q8w0e9r7t5y3u1i2o4p6a8s0d/17.mpg",
        "2022-11-14T12:24,1,GET /rate/q8fj2kd0xytz=3",
        "2022-11-14T12:24,1,GET /data/m/fight+cl ub+1999/1.mpg",
        "2022-11-14T12:24,1,GET /data/m/fight+club+19F99/1.mpg",
        "2022-11-14T12:24,1,GET /data/m/fight+club+19399/1.mpg",
        "2022-11-14T12:24,1,GET /data/m/a/b+2000/1.mpg",
        "2022-11-14T12:24,1,GET /data/m//1.mpg",
        "2022-11-14T12:24,1,GET /data/m/1.mpg",
        "2022-11-14T12:24,1,GET /rate/=3",
        "2022-11-14T12:24,1,GET /rate/a+2000",
        "2022-11-14T12:24,1,GET /data/m/" + "a" * 501 + "+/1.mpg",
    ],
    Category.MINUTE: [
        "2022-11-14T12:24,1,GET /data/m/a+2000/84. mpg",
        "2022-11-14T12:24,1,GET /data/m/a+2000/30.Hmpg",
        "2022-11-14T12:24,1,GET /data/m/a+2000/6x1.mpg",
        "2022-11-14T12:24,1,GET /data/m/a+2000/084.mpg",
        "2022-11-14T12:24,1,GET /data/m/a+2000/.mpg",
        "2022-11-14T12:24,1,GET /data/m/a+2000/-1.mpg",
        "2022-11-14T12:24,1,GET /data/m/a+2000/12345678.mpg",
        "2022-11-14T12:24,1,GET /data/m/a+2000/84.mpg2",
        "2022-11-14T12:24,1,GET /data/m/a+2000/84.mpg\n",
    ],
    Category.RATING: [
        "2022-11-14T12:24,1,GET /rate/a+2000=E",
        "2022-11-14T12:24,1,GET /rate/a+2000= 3",
        "2022-11-14T12:24,1,GET /rate/a+2000=10",
        "2022-11-14T12:24,1,GET /rate/a+2000=",
    ],
    Category.RECOMMENDATION: [
        "2022-11-14T12:24,1,recommendation request ",
        "2022-11-14T12:24,1,recommendation request team12.example.edu, " + LIST,
        "2022-11-14T12:24,1,recommendation request team12.example.edu:8 082, " + LIST,
        "2022-11-14T12:24,1,recommendation request team12.example.edu:8082, status 2000, result: a+, 5 ms",
        "2022-11-14T12:24,1,recommendation request team12.example.edu:8082, status 200, result: a+, 5ms",
        "2022-11-14T12:24,1,recommendation request team12.example.edu:8082, status 200, result: a+, 5 ms ",
        "2022-11-14T12:24,1,recommendation request team12.example.edu:8082, status 200, result: a+,b+, 5 ms",
        _request_record("status 200, result: a+, Qz8Kd, 5 ms"),
        "2022-11-14T12:24,1,recommendation request team12.example.edu:8082, status 200, result: a+",
    ],
    Category.ENCODING: [
        _request_record("status 500, result: \0, 5 ms"),
        _request_record("status 500, result: \ud800, 5 ms"),
    ],
}


def test_malformed_examples_cover_every_category() -> None:
    """Each category has at least one example in this file."""
    assert set(MALFORMED) == set(Category) - {Category.JSON, Category.EVENT_ID}  # These two are of JSON records.


@pytest.mark.parametrize(
    ("category", "line"), [(category, line) for category, lines in MALFORMED.items() for line in lines]
)
def test_parse_malformed_record_has_category_of_first_fault(category: Category, line: str) -> None:
    """The corruptions of real logs, and more; the detail is short ASCII that can be stored."""
    malformed = FIVE.parse(line)
    assert isinstance(malformed, MalformedRecord)
    assert malformed.category is category
    assert malformed.detail.isascii()
    assert "\0" not in malformed.detail
    assert 0 < len(malformed.detail) < 1200


@pytest.mark.parametrize(("text", "valid"), [("1", True), ("", False), ("1a", False), ("1\n", False), ("١", False)])
def test_is_user_id_accepts_decimal_digits_only(text: str, valid: bool) -> None:
    """A user id is 1 to 20 ASCII digits and nothing else."""
    assert is_user_id(text) is valid


def test_parse_malformed_detail_names_valid_value() -> None:
    """The detail in quarantine says what would have been valid."""
    malformed = FIVE.parse("2022-11-14T12:24,1,GET /rate/a+2000=10")
    assert malformed == MalformedRecord(Category.RATING, "'10' is not a whole number from 1 to 5")
    malformed = FIVE.parse("2022-11-14T12:24,x,GET /create_account")
    assert isinstance(malformed, MalformedRecord)
    assert re.search("digits", malformed.detail)
