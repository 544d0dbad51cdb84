"""Tests of parse_records, without a database."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from marquee.events.batches import Record
from marquee.events.kinds import MalformedRecord, Watch
from marquee.events.parser import EventParser
from marquee.ingest.row_encoding import escape_unstorable, parse_records

_PARSERS = {zone: EventParser(ZoneInfo(zone)) for zone in ("UTC", "America/New_York", "Africa/Monrovia")}
_STAMPS = st.sampled_from(
    [
        "2026-02-14T00:09",
        "2026-02-14T00:09:20",
        "2026-02-14T00:09:20.426",
        "2026-02-14T00:09:20.426123",
        "2026-02-14T00:09:20.426123999",
        "2026-02-14T00:09:60",
        "2026-02-31T00:09:20",
        "2026-11-01T01:30:00",  # Twice, in New York.
        "2026-03-08T02:30:00",  # Never, in New York.
        "1950-01-01T00:00",  # Monrovia was 44 minutes and 30 seconds behind.
        "0001-01-01T00:00",
        "9999-12-31T23:59:59.999999",
        "2026-02-14T00:09:20.4",
        "",
    ]
)
_WATCHES = st.builds(
    "{},{},GET /data/m/{}/{}.mpg".format,
    _STAMPS,
    st.sampled_from(["1", "12345678901234567890", "123456789012345678901", "", "x"]),
    st.sampled_from(["a+", "fight+club+1999", "m*a*s*h+1970", "abc", "A+1999", ""]),
    st.sampled_from(["0", "7", "120", "007", "-1", "12345678", ""]),
)
_TEXTS = st.lists(st.one_of(_WATCHES, st.text(max_size=30), st.just("x\ny")), min_size=1, max_size=12)


@given(texts=_TEXTS, zone=st.sampled_from(list(_PARSERS)))
def test_parse_records_fast_path_equals_parser(texts: list[str], zone: str) -> None:
    """The fast path finds the same watches as the parser, and leaves all other records to it."""
    parser = _PARSERS[zone]
    parsed = parse_records([Record(offset, 0, text) for offset, text in enumerate(texts)], parser)
    events = [parser.parse(text) for text in texts]
    expected = {
        offset: (event.time, event.user_id, event.movie_id, str(event.minute))
        for offset, event in enumerate(events)
        if isinstance(event, Watch)
    }
    found = {}
    for row in parsed.watches:
        offset, time, *rest = row.split("\t")
        found[int(offset)] = (datetime.fromisoformat(time), *rest)
    assert found == expected
    assert len(parsed.malformed) == sum(isinstance(event, MalformedRecord) for event in events)


@given(text=st.text(st.characters()))
def test_storable_text_holds_nothing_that_postgresql_cannot(text: str) -> None:
    kept = escape_unstorable(text)
    assert "\0" not in kept
    kept.encode()
