"""Reports on the use of the app, against the same counts by hand."""

from __future__ import annotations

import itertools
import uuid
from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from marquee.app.documents import Document, Documents
from marquee.app.usage_reports import (
    FEW,
    FUNNEL,
    CohortWeek,
    DayReport,
    FunnelStep,
    find_days,
    read_outcomes,
    report_day,
    report_funnel,
    report_retention,
    report_screens,
)

pytestmark = pytest.mark.servers
MONDAY = datetime(2026, 9, 7, tzinfo=UTC)
DAY, WEEK = timedelta(days=1), timedelta(weeks=1)
SCREENS = ("home", "movie", "search")
# Each history is that of one user: visits with a week, gaps in seconds, names, and lost events.
_EVENT = st.tuples(st.sampled_from((*FUNNEL, "screen_viewed", "screen_viewed", "error")), st.integers(1, 4_000))
_VISIT = st.tuples(
    st.integers(0, 3), st.integers(0, 50_000), st.lists(_EVENT, min_size=1, max_size=6), st.integers(0, 2)
)
_HISTORY = st.lists(_VISIT, min_size=1, max_size=3)


def make_events(histories: Iterable[Iterable[Any]]) -> list[Document]:
    """Return the events of users' histories, as documents."""
    events = []
    for user, visits in enumerate(histories):
        for week, second, steps, lost in visits:
            session, seq = str(uuid.uuid4()), 0
            at = MONDAY + week * WEEK + timedelta(seconds=second)
            for number, (name, gap) in enumerate(steps):
                seq += 1 + (lost if number == 1 else 0)
                at += timedelta(seconds=gap)
                event = {"_id": str(uuid.uuid4()), "user_id": str(user), "session": session, "seq": seq, "name": name}
                event |= {"at": at, "received": at, "screen": SCREENS[number % 3], "app": "browser"}
                events.append(event)
    return events


def funnel_by_hand(events: list[Document], since: datetime, until: datetime) -> list[FunnelStep]:
    depth: dict[str, int] = defaultdict(int)
    for event in sorted(events, key=lambda event: (event["at"], event["_id"])):
        user = event["user_id"]
        if since <= event["at"] < until and depth[user] < 4 and event["name"] == FUNNEL[depth[user]]:
            depth[user] += 1
    reached = [sum(d > step for d in depth.values()) for step in range(4)]
    return [FunnelStep(name, users) for name, users in zip(FUNNEL, reached, strict=True) if users >= FEW]


def day_by_hand(events: list[Document], day: datetime) -> DayReport | None:
    sessions: dict[str, list[Document]] = defaultdict(list)
    for event in events:
        if day <= event["at"] < day + DAY:
            sessions[event["session"]].append(event)
    if not sessions:
        return None
    count = sum(map(len, sessions.values()))
    numbers = [[event["seq"] for event in rows] for rows in sessions.values()]
    lost = sum(max(seqs) - min(seqs) + 1 - len(seqs) for seqs in numbers)
    users = {event["user_id"] for rows in sessions.values() for event in rows}
    if len(users) < FEW:
        return DayReport(count, lost)
    failed = sum(any(event["name"] == "error" for event in rows) for rows in sessions.values())
    return DayReport(count, lost, len(users), len(sessions), failed)


def retention_by_hand(events: list[Document]) -> list[CohortWeek]:
    weeks: dict[str, set[int]] = defaultdict(set)
    for event in events:
        weeks[event["user_id"]].add((event["at"] - MONDAY) // WEEK)
    counts: dict[tuple[int, int], int] = defaultdict(int)
    for seen in weeks.values():
        for week in seen:
            counts[min(seen), week - min(seen)] += 1
    return [CohortWeek(MONDAY + w * WEEK, n, c) for (w, n), c in sorted(counts.items()) if c >= FEW]


def screens_by_hand(events: list[Document], since: datetime, until: datetime) -> dict[str, list[float]]:
    seconds: dict[str, list[float]] = defaultdict(list)
    users: dict[str, set[str]] = defaultdict(set)
    sessions: dict[str, list[Document]] = defaultdict(list)
    for event in events:
        if since <= event["at"] < until:
            sessions[event["session"]].append(event)
    for rows in sessions.values():
        rows.sort(key=lambda event: event["seq"])
        for event, following in itertools.pairwise(rows):
            looked = (following["at"] - event["at"]).total_seconds()
            if event["name"] == "screen_viewed" and looked < 1_800:
                seconds[event["screen"]].append(looked)
                users[event["screen"]].add(event["user_id"])
    return {screen: sorted(times) for screen, times in seconds.items() if len(users[screen]) >= FEW}


def fill(documents: Documents, events: list[Document]) -> None:
    """Replace the events; the journal of each example does not matter."""
    collection = documents.database["events"]
    collection.delete_many({})
    if events:
        collection.insert_many(events, ordered=False)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(histories=st.lists(_HISTORY, min_size=1, max_size=40))
def test_reports_equal_counts_by_hand(documents: Documents, histories: list[Any]) -> None:
    """Funnel, day, screens and retention of up to 1,000 histories are those of a count by hand."""
    events = make_events(histories)
    fill(documents, events)
    until = MONDAY + 5 * WEEK
    assert report_funnel(documents, MONDAY, until) == funnel_by_hand(events, MONDAY, until)
    assert report_day(documents, MONDAY) == day_by_hand(events, MONDAY)
    assert report_retention(documents, MONDAY, until) == retention_by_hand(events)
    expected = screens_by_hand(events, MONDAY, until)
    found = {screen.screen: screen for screen in report_screens(documents, MONDAY, until)}
    assert {name: screen.views for name, screen in found.items()} == {n: len(times) for n, times in expected.items()}
    for name, times in expected.items():
        # A percentile of an approximation is between the neighbors of the exact one.
        for value, q in ((found[name].p50_s, 0.5), (found[name].p95_s, 0.95)):
            rank = q * (len(times) - 1)
            assert times[max(0, int(rank) - 1)] <= value <= times[min(len(times) - 1, int(rank) + 2)]


def test_report_of_few_users_is_hidden(documents: Documents) -> None:
    """Four users are not shown in any report, five are."""
    visits = [[(0, 60, [("movies_seen", 10), ("screen_viewed", 10), ("movie_opened", 5)], 0)]] * 5
    for count in (4, 5):
        fill(documents, make_events(visits[:count]))
        day = report_day(documents, MONDAY)
        assert day is not None
        shown = count >= FEW
        assert day.events == 3 * count
        assert (day.users is not None, day.sessions is not None) == (shown, shown)
        assert bool(report_funnel(documents, MONDAY, MONDAY + DAY)) == shown
        assert bool(report_screens(documents, MONDAY, MONDAY + DAY)) == shown
        assert bool(report_retention(documents, MONDAY, MONDAY + DAY)) == shown


def test_outcomes_fold_the_events_of_each_listed_movie(documents: Documents) -> None:
    """One row for each recommendation and movie, with what happened; other events have none."""
    events = make_events([[(0, 0, [("movies_seen", 1), ("movie_opened", 1), ("play_started", 1), ("error", 1)], 0)]])
    where = {"recommendation": "r1", "movie": "heat+1995", "position": 3}
    for event in events[:3]:
        event.update(where)
    seen = {**events[0], "_id": str(uuid.uuid4()), "movie": "fargo+1996", "position": 4}
    fill(documents, [*events, seen])
    rows = {row.movie_id: row for row in read_outcomes(documents, MONDAY, MONDAY + DAY)}
    assert rows.keys() == {"heat+1995", "fargo+1996"}
    heat, fargo = rows["heat+1995"], rows["fargo+1996"]
    assert (heat.position, heat.seen, heat.opened, heat.played, heat.finished) == (3, True, True, True, False)
    assert (fargo.position, fargo.seen, fargo.opened) == (4, True, False)
    assert (heat.recommendation_id, heat.user_id) == ("r1", "0")
    assert find_days(documents, MONDAY, MONDAY + DAY) == [MONDAY]
    assert find_days(documents, MONDAY + DAY, MONDAY + 2 * DAY) == []
