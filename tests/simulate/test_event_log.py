"""The journal: every line that is not spoiled reads as the event that was meant."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from tests.simulate.small_service import NOON, UTC_ZONE, ListWriter, made, taken

from marquee.events.kinds import MalformedRecord, RecommendationRequest
from marquee.events.parser import EventParser
from marquee.simulate.corruption import Corrupter
from marquee.simulate.event_log import EventLog
from marquee.simulate.report import SimulationReport, now
from marquee.simulate.sessions import ActiveSessions


def journal(
    rate: float = 0.0, *, zone: ZoneInfo = UTC_ZONE, rating_max: int = 5, disorder: bool = False
) -> EventLog:
    parser = EventParser(zone, rating_max)
    customers, requests = (Corrupter(rate, parser, lambda movie_id: False, seed) for seed in (1, 2))
    return EventLog(ListWriter(), zone, parser, customers, requests, disorder=disorder)


def lines_of(journal: EventLog) -> list[bytes]:
    assert isinstance(journal.writer, ListWriter)
    return journal.writer.lines


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Kathmandu"])
@pytest.mark.parametrize("rating_max", [5, 10])
def test_clean_lines_read_as_they_were_meant(zone: str, rating_max: int) -> None:
    """All kinds of customers' lines, in any zone and on either scale, parse back to the very event."""
    log = journal(zone=ZoneInfo(zone), rating_max=rating_max)
    events = taken(ActiveSessions(made(movies=2_000, rating_max=rating_max), 100, midway=True), 20_000)
    for event in events:
        log.write(event)
    parser = EventParser(ZoneInfo(zone), rating_max)
    assert [parser.parse(line.decode()) for line in lines_of(log)] == events


def test_the_account_of_spoiled_lines_is_exact() -> None:
    """What a reader finds, line by line, is what the report says: readable, and unreadable by category."""
    log = journal(rate=0.05)
    for event in taken(ActiveSessions(made(), 100, midway=True), 20_000):
        log.write(event)
    report = SimulationReport(mode="made", seed=1, started=now(), updated=now())
    log.tally.fill(report)
    found: Counter[str] = Counter()
    parser = EventParser(UTC_ZONE, 5)
    for line in lines_of(log):
        try:
            read = parser.parse(line.decode())
        except UnicodeDecodeError:
            found["encoding"] += 1
            continue
        found[read.category if isinstance(read, MalformedRecord) else "readable"] += 1
    assert found.pop("readable") == report.readable
    assert found == report.unreadable
    assert 800 < sum(sum(kinds.values()) for kinds in report.corrupted.values()) < 1_200
    assert sum(report.lines.values()) == report.acknowledged == 20_000


def test_answers_do_not_change_which_customers_lines_are_spoiled() -> None:
    """When answers come is chance; the customers' lines are the same for one seed all the same."""
    quiet, asked = journal(rate=0.05), journal(rate=0.05)
    request = RecommendationRequest(NOON, "1", "a:80", 0, (), "late", 600)
    for event in taken(ActiveSessions(made(), 20), 1_000):
        quiet.write(event)
        asked.write(event)
        asked.write(request)
    assert set(lines_of(quiet)) <= set(lines_of(asked))


@pytest.mark.parametrize(
    ("movie_ids", "category"),
    [(("a+1999", "endeavour+"), None), ((), None), (("<html>", "no"), "recommendation")],
)
def test_an_answer_that_is_no_list_is_accounted_for(movie_ids: tuple[str, ...], category: str | None) -> None:
    log = journal()
    log.write(RecommendationRequest(NOON, "1", "a:80", 200, movie_ids, "", 12))
    report = SimulationReport(mode="made", seed=1, started=now(), updated=now())
    log.tally.fill(report)
    assert report.unreadable == ({category: 1} if category else {})
    assert report.lines["recommendation_request"] == 1


@pytest.mark.parametrize("disorder", [False, True])
def test_times_are_of_the_wall_clock(disorder: bool) -> None:
    """In whole milliseconds, and never ahead."""
    log = journal(disorder=disorder)
    for _ in range(5_000):
        time = log.time()
        assert time <= now()
        assert time.microsecond % 1000 == 0


def test_disorder_comes_at_the_recorded_rate() -> None:
    log = journal(disorder=True)
    times = [log.time() for _ in range(20_000)]
    back = [before - after for before, after in pairwise(times) if after < before]
    assert 50 < len(back) < 200
    assert max(gap.total_seconds() for gap in back) <= 0.375
