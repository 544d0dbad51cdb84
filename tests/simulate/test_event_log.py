"""The event log: every clean record parses as the event that was written."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from tests.simulate.small_service import (
    NOON,
    UTC_ZONE,
    ListProducer,
    empty_report,
    synthetic_users,
    take_events,
)

from marquee.events.kinds import MalformedRecord, RecommendationRequest
from marquee.events.log_scale import FIVE_STARS, LogScale
from marquee.events.parser import EventParser
from marquee.simulate.corruption import Corrupter
from marquee.simulate.event_log import EventLog
from marquee.simulate.sessions import ActiveSessions


def make_event_log(
    rate: float = 0.0, *, zone: ZoneInfo = UTC_ZONE, scale: LogScale = FIVE_STARS, disorder: bool = False
) -> EventLog:
    parser = EventParser(zone, scale)
    user_corrupter, request_corrupter = (Corrupter(rate, parser, lambda movie_id: False, seed) for seed in (1, 2))
    return EventLog(ListProducer(), zone, parser, user_corrupter, request_corrupter, disorder=disorder)


def records_of(event_log: EventLog) -> list[bytes]:
    assert isinstance(event_log.producer, ListProducer)
    return event_log.producer.records


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Kathmandu"])
@pytest.mark.parametrize("scale", [FIVE_STARS, LogScale(1, 10), LogScale(0.5, 5), LogScale(0, 10)], ids=str)
def test_write_clean_records_parse_as_the_events(zone: str, scale: LogScale) -> None:
    """All kinds of users' records, in any zone and on any scale, parse as the written events."""
    event_log = make_event_log(zone=ZoneInfo(zone), scale=scale)
    users = synthetic_users(movies=2_000, scale=scale)
    events = take_events(ActiveSessions(users, 100, midway=True), 20_000)
    for event in events:
        event_log.write(event)
    parser = EventParser(ZoneInfo(zone), scale)
    assert [parser.parse(record.decode()) for record in records_of(event_log)] == events


def test_write_corrupted_records_are_counted_exactly() -> None:
    """The report's counts are those of a reader of the records: well-formed, and malformed by category."""
    event_log = make_event_log(rate=0.05)
    for event in take_events(ActiveSessions(synthetic_users(), 100, midway=True), 20_000):
        event_log.write(event)
    report = empty_report()
    event_log.counts.fill_report(report)
    counts: Counter[str] = Counter()
    parser = EventParser(UTC_ZONE)
    for record in records_of(event_log):
        try:
            parsed = parser.parse(record.decode())
        except UnicodeDecodeError:
            counts["encoding"] += 1
            continue
        counts[parsed.category if isinstance(parsed, MalformedRecord) else "well-formed"] += 1
    assert counts.pop("well-formed") == report.acknowledged - sum(report.malformed.values())
    assert counts == report.malformed
    assert 800 < sum(sum(kinds.values()) for kinds in report.corrupted.values()) < 1_200
    assert sum(report.records.values()) == report.acknowledged == 20_000


def test_write_requests_do_not_change_corruption_of_user_records() -> None:
    """The time of responses varies between runs; the users' records of one seed do not."""
    without, with_requests = make_event_log(rate=0.05), make_event_log(rate=0.05)
    request = RecommendationRequest(NOON, "1", "a:80", 0, (), "late", 600)
    for event in take_events(ActiveSessions(synthetic_users(), 20), 1_000):
        without.write(event)
        with_requests.write(event)
        with_requests.write(request)
    assert set(records_of(without)) <= set(records_of(with_requests))


@pytest.mark.parametrize(
    ("movie_ids", "category"),
    [(("a+1999", "endeavour+"), None), ((), None), (("<html>", "no"), "recommendation")],
)
def test_write_invalid_response_is_counted_by_category(movie_ids: tuple[str, ...], category: str | None) -> None:
    """A response that makes its record malformed is counted as malformed."""
    event_log = make_event_log()
    event_log.write(RecommendationRequest(NOON, "1", "a:80", 200, movie_ids, "", 12))
    report = empty_report()
    event_log.counts.fill_report(report)
    assert report.malformed == ({category: 1} if category else {})
    assert report.records["recommendation_request"] == 1


@pytest.mark.parametrize("disorder", [False, True])
def test_current_time_is_whole_milliseconds_and_never_ahead(disorder: bool) -> None:
    """Times are wall-clock times in whole milliseconds, never in the future."""
    event_log = make_event_log(disorder=disorder)
    for _ in range(5_000):
        time = event_log.current_time()
        assert time <= datetime.now(UTC)
        assert time.microsecond % 1000 == 0


def test_current_time_disorder_has_the_recorded_rate() -> None:
    """About 267 of 50,000 times are earlier than the one before, by at most 374 ms."""
    event_log = make_event_log(disorder=True)
    times = [event_log.current_time() for _ in range(20_000)]
    steps_back = [before - after for before, after in pairwise(times) if after < before]
    assert 50 < len(steps_back) < 200
    assert max(step.total_seconds() for step in steps_back) <= 0.375
