"""Every text is an event or has a category; what is written is read back as it was."""

from __future__ import annotations

import re
import string
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from marquee.stream.events import (
    AccountCreated,
    Category,
    Event,
    Malformed,
    Rating,
    RecommendationRequest,
    Watch,
)
from marquee.stream.lines import LineParser, format_line, is_movie_id, is_user_id

UTC_ZONE = ZoneInfo("UTC")
NEW_YORK = ZoneInfo("America/New_York")
FIVE = LineParser(UTC_ZONE, 5)
TEN = LineParser(UTC_ZONE, 10)

TIMEOUT = (
    "java.util.concurrent.TimeoutException: "
    "Request timeout to team12.example.edu/192.0.2.130:8082 after 800 ms"
)
# Lines as the service has really written them (host and address changed), and what they say.
REAL = {
    "2022-11-14T12:24,232596,GET /data/m/fight+club+1999/128.mpg": Watch(
        datetime(2022, 11, 14, 12, 24, tzinfo=UTC), "232596", "fight+club+1999", 128
    ),
    "2019-09-05T19:27:01,118106,GET /rate/grumpier+old+men+1995=3": Rating(
        datetime(2019, 9, 5, 19, 27, 1, tzinfo=UTC), "118106", "grumpier+old+men+1995", 3
    ),
    "2026-02-14T00:09:21,130276,GET /rate/please+dont+eat+the+daisies+1960=7": Rating(
        datetime(2026, 2, 14, 0, 9, 21, tzinfo=UTC), "130276", "please+dont+eat+the+daisies+1960", 7
    ),
    "2026-02-14T00:09:20.426,219411,GET /data/m/escape+to+athena+1979/73.mpg": Watch(
        datetime(2026, 2, 14, 0, 9, 20, 426000, tzinfo=UTC), "219411", "escape+to+athena+1979", 73
    ),
    "2023-04-23T23:46:18.872015,698809,recommendation request team12.example.edu:8082, status 0, "
    f"result: {TIMEOUT}, 832 ms": RecommendationRequest(
        datetime(2023, 4, 23, 23, 46, 18, 872015, tzinfo=UTC),
        "698809",
        "team12.example.edu:8082",
        0,
        (),
        TIMEOUT,
        832,
    ),
    "2022-11-14T12:24,232596,recommendation request team12.example.edu:8082, status 200, "
    "result: fight+club+1999, m*a*s*h+1970, 61*+2001, 59 ms": RecommendationRequest(
        datetime(2022, 11, 14, 12, 24, tzinfo=UTC),
        "232596",
        "team12.example.edu:8082",
        200,
        ("fight+club+1999", "m*a*s*h+1970", "61*+2001"),
        "",
        59,
    ),
    "2026-02-14T00:09:20.426,219411,GET /create_account": AccountCreated(
        datetime(2026, 2, 14, 0, 9, 20, 426000, tzinfo=UTC), "219411"
    ),
}


@pytest.mark.parametrize(("line", "event"), REAL.items(), ids=range(len(REAL)))
def test_real_lines_are_read_and_written(line: str, event: Event) -> None:
    """Each known format, to the letter, in both directions."""
    assert TEN.parse(line) == event
    assert format_line(event, UTC_ZONE) == line


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
def test_movie_ids_of_all_known_shapes(movie_id: str) -> None:
    """A year may be missing or doubled, a title may begin with a plus or hold odd signs."""
    assert is_movie_id(movie_id)
    event = FIVE.parse(f"2022-11-14T12:24,1,GET /data/m/{movie_id}/0.mpg")
    assert event == Watch(datetime(2022, 11, 14, 12, 24, tzinfo=UTC), "1", movie_id, 0)


@pytest.mark.parametrize(
    ("fraction", "microsecond"),
    [("", 0), (":07", 0), (":07.125", 125000), (":07.125250", 125250), (":07.125250999", 125250)],
)
def test_times_with_and_without_seconds_and_fractions(fraction: str, microsecond: int) -> None:
    """0, 3, 6 or 9 digits of a fraction; nanoseconds are cut off, not rounded."""
    event = FIVE.parse(f"2022-11-14T12:24{fraction},1,GET /create_account")
    second = 7 if fraction else 0
    assert event == AccountCreated(datetime(2022, 11, 14, 12, 24, second, microsecond, tzinfo=UTC), "1")


def test_minute_far_beyond_a_films_end() -> None:
    """Minute 1063 has been seen, and is no reason to lose the line."""
    event = FIVE.parse("2022-11-14T12:24,1,GET /data/m/a+2000/1063.mpg")
    assert isinstance(event, Watch)
    assert event.minute == 1063


def test_event_time_is_the_zones() -> None:
    """Local times become UTC by the zone's rules of that day: -5 h in winter, -4 h in summer."""
    parser = LineParser(NEW_YORK, 5)
    hours = [parser.parse(f"2022-{month:02}-14T12:24,1,GET /create_account").time.hour for month in (1, 7, 1)]
    assert hours == [17, 16, 17]


def test_hour_that_comes_twice_is_the_first_and_the_skipped_one_goes_on() -> None:
    """On 2022-11-06 01:30 comes twice in New York, and on 2022-03-13 02:30 not at all."""
    parser = LineParser(NEW_YORK, 5)
    twice = parser.parse("2022-11-06T01:30,1,GET /create_account")
    never = parser.parse("2022-03-13T02:30,1,GET /create_account")
    assert twice == AccountCreated(datetime(2022, 11, 6, 5, 30, tzinfo=UTC), "1")
    assert never == AccountCreated(datetime(2022, 3, 13, 7, 30, tzinfo=UTC), "1")


def test_many_minutes_do_not_fill_memory() -> None:
    """What is remembered of the zone is bounded, and being forgotten changes nothing."""
    parser = LineParser(NEW_YORK, 5)
    start = datetime(2022, 1, 1)
    for minute in range(0, 2_000_000, 199):
        local = start + timedelta(minutes=minute)
        event = parser.parse(f"{local.isoformat(timespec='minutes')},1,GET /create_account")
        assert event.time == local.replace(tzinfo=NEW_YORK)
    assert len(parser._offsets) <= 4096


@pytest.mark.parametrize(("parser", "top"), [(FIVE, 5), (TEN, 10)])
def test_scale_of_ratings(parser: LineParser, top: int) -> None:
    """1 to the top is a rating, whole and nothing else: 10 on a scale of 5 is not 1."""
    for text in [*map(str, range(0, 13)), "", "-1", "1.0", "01", "+1", "٣", "5 ", "E", "100"]:
        event = parser.parse(f"2022-11-14T12:24,1,GET /rate/a+2000={text}")
        if text in map(str, range(1, top + 1)):
            assert event == Rating(datetime(2022, 11, 14, 12, 24, tzinfo=UTC), "1", "a+2000", int(text))
        else:
            assert isinstance(event, Malformed)
            assert event.category is Category.RATING


def _request(answer: str) -> str:
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
def test_result_of_a_failed_request_is_free_text(text: str, expected: str) -> None:
    """It may hold commas, colons, and what looks like the line's own end: it is read from both ends."""
    event = FIVE.parse(_request(f"status 502, result: {text}, 812 ms"))
    assert isinstance(event, RecommendationRequest)
    assert (event.status, event.movie_ids, event.result, event.response_ms) == (502, (), expected, 812)


def test_empty_list_is_an_answer() -> None:
    """A recommender that had nothing to say is a fact about it, not a broken line."""
    event = FIVE.parse(_request("status 200, result: , 12 ms"))
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
        _request("status 200, result: a+, Qz8Kd, 5 ms"),
        "2022-11-14T12:24,1,recommendation request team12.example.edu:8082, status 200, result: a+",
    ],
    Category.ENCODING: [
        _request("status 500, result: \0, 5 ms"),
        _request("status 500, result: \ud800, 5 ms"),
    ],
}


def test_every_category_has_its_lines() -> None:
    """A category that no line can have is one too many."""
    assert set(MALFORMED) == set(Category)


@pytest.mark.parametrize(
    ("category", "line"), [(category, line) for category, lines in MALFORMED.items() for line in lines]
)
def test_malformed_lines_have_the_category_of_their_first_fault(category: Category, line: str) -> None:
    """The corruptions that real logs hold, and some more; the detail is short ASCII that can be stored."""
    malformed = FIVE.parse(line)
    assert isinstance(malformed, Malformed)
    assert malformed.category is category
    assert malformed.detail.isascii()
    assert "\0" not in malformed.detail
    assert 0 < len(malformed.detail) < 1200


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
zones = st.sampled_from(
    ["UTC", "America/New_York", "Europe/Berlin", "Asia/Kolkata", "Australia/Lord_Howe"]
).map(ZoneInfo)


@given(events, zones)
def test_format_then_parse_is_the_identity(event: Event, zone: ZoneInfo) -> None:
    """In every zone, save in the hour that comes twice, which the text cannot tell apart."""
    assume(event.time.astimezone(zone).fold == 0)
    assert LineParser(zone, 10).parse(format_line(event, zone)) == event


@given(events)
def test_parse_then_format_is_the_identity_on_what_was_formatted(event: Event) -> None:
    """One event has one line."""
    line = format_line(event, UTC_ZONE)
    assert format_line(TEN.parse(line), UTC_ZONE) == line  # type: ignore[arg-type]


@given(st.text() | st.text(st.characters()))
@example("\ud800")
@example("2022-11-14T12:24,1,recommendation request a:1, status 500, result: \ud800\0, 1 ms")
@example("9999-12-31T23:59:59,1,GET /create_account")
@example("0001-01-01T00:00,1,GET /create_account")
def test_no_text_raises(text: str) -> None:
    """Lone surrogates, NUL, and the ends of time included, in any zone."""
    for zone in ("UTC", "America/New_York", "Pacific/Kiritimati"):
        assert isinstance(LineParser(ZoneInfo(zone), 5).parse(text), Event | Malformed)


@given(events, st.data())
def test_no_mangled_line_raises(event: Event, data: st.DataObject) -> None:
    """A line of which any part was replaced by any text."""
    line = format_line(event, UTC_ZONE)
    start = data.draw(st.integers(0, len(line)))
    end = data.draw(st.integers(start, len(line)))
    assert isinstance(FIVE.parse(line[:start] + data.draw(st.text()) + line[end:]), Event | Malformed)


@given(watches | ratings | st.builds(AccountCreated, any_time, user_ids) | answers | failures, st.data())
def test_inserted_character_is_never_taken_for_the_same_event(event: Event, data: st.DataObject) -> None:
    """The commonest corruption: it is found, or it changed what the line says; it is never overlooked."""
    line = format_line(event, UTC_ZONE)
    place = data.draw(st.integers(0, len(line)))
    character = data.draw(st.sampled_from(" " + string.ascii_letters + string.digits))
    corrupt = TEN.parse(line[:place] + character + line[place:])
    assert corrupt != event


BLANK_OR_CAPITAL = [" ", "Q"]


@pytest.mark.parametrize("character", BLANK_OR_CAPITAL)
@pytest.mark.parametrize(
    "line", [line for line, event in REAL.items() if not isinstance(event, RecommendationRequest)]
)
def test_inserted_blank_or_capital_is_always_found(line: str, character: str) -> None:
    """No place of a watch, a rating or an account can hold one."""
    for place in range(len(line) + 1):
        assert isinstance(TEN.parse(line[:place] + character + line[place:]), Malformed)


@given(st.text(string.ascii_letters + string.digits, min_size=10, max_size=53))
def test_random_string_for_a_movie_id_is_found(movie_id: str) -> None:
    """Letters and digits alone are no movie id."""
    malformed = FIVE.parse(f"2022-11-14T12:24,1,GET /data/m/{movie_id}/0.mpg")
    assert isinstance(malformed, Malformed)
    assert malformed.category is Category.MOVIE_ID


def test_hostile_lines_cost_no_more_than_their_length() -> None:
    """No backtracking: half a megabyte of anything is refused before the suite's time limit."""
    head = "2022-11-14T12:24,1,"
    for line in (
        "1" * 500_000,
        head + "GET /data/m/" + "+" * 500_000 + "/1.mpg",
        head + "GET /rate/" + "+1999" * 100_000,
        head + "recommendation request a:1, status 200, result: " + "a+, " * 125_000 + "!, 3 ms",
        head + "recommendation request a:1, status 500, result: " + ", 1 m" * 100_000,
    ):
        assert isinstance(FIVE.parse(line), Malformed)


@pytest.mark.parametrize(
    ("text", "valid"), [("1", True), ("", False), ("1a", False), ("1\n", False), ("١", False)]
)
def test_user_ids(text: str, valid: bool) -> None:
    """Decimal digits, whole and nothing else: the same rule for whoever asks."""
    assert is_user_id(text) is valid


def test_details_say_what_is_valid() -> None:
    """A person who reads the quarantine learns what was wrong."""
    malformed = FIVE.parse("2022-11-14T12:24,1,GET /rate/a+2000=10")
    assert malformed == Malformed(Category.RATING, "'10' is not a whole number from 1 to 5")
    assert re.search("digits", FIVE.parse("2022-11-14T12:24,x,GET /create_account").detail)
