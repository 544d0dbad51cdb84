"""Tests of the exposures: who takes part since when, what counts in which hour, and when a list is complete."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from tests.monitoring.experiment_stream import (
    TIMEOUT_MS,
    ExperimentStream,
    declare,
    list_users,
    read_timeline,
    start_canary,
)
from tests.support.records import rows

from marquee.db.pool import Database
from marquee.monitoring.experiment_timeline import Timeline
from marquee.monitoring.exposures import ExposureRules, update_exposures
from marquee.registry.experiment_steps import enrol_more
from marquee.registry.object_store.file_store import FileStore

pytestmark = pytest.mark.servers
WINDOW = timedelta(minutes=60)
RULES = ExposureRules(WINDOW, TIMEOUT_MS)
HOURS = """
SELECT sum(asks), sum(failed), sum(late), sum(lists), sum(watched), sum(minutes), sum(all_minutes)
FROM experiment_hours WHERE user_id = %s"""

DAYS = """
SELECT arm, day, shown, lists, watched, drafted, begun_old, begun_new, time
FROM experiment_days ORDER BY time, arm, day"""
DAYS_OF_HOURS = """
SELECT h.arm, greatest(floor(extract(epoch FROM time - first_asked) / 86400)::int, 0) AS day,
       sum(greatest(lists, drafted)), sum(lists), sum(watched), sum(drafted), sum(begun_old), sum(begun_new), time
FROM experiment_hours AS h JOIN experiment_users USING (experiment, user_id) GROUP BY h.arm, 2, time
ORDER BY time, arm, day"""


@pytest.fixture
def writer(database: Database) -> ExperimentStream:
    return ExperimentStream(database)


@pytest.fixture
def timeline(store: FileStore) -> Timeline:
    """Return an experiment that began six hours ago."""
    start_canary(store, declare(), age=timedelta(hours=6))
    return read_timeline(store)


def _minutes(value: float) -> timedelta:
    return timedelta(minutes=value)


def test_update_exposures_counts_each_request_as_the_service_logged_it(
    database: Database, writer: ExperimentStream, timeline: Timeline
) -> None:
    """Answered, failed and late requests; a second list within half an hour is part of the first."""
    (user,) = list_users(timeline.release, "canary", 1)
    began = timeline.started + _minutes(10)
    writer.ask(began, user, (1, 2))
    writer.ask(began + _minutes(20), user, (3,))
    writer.ask(began + _minutes(25), user, status=503)
    writer.ask(began + _minutes(26), user, response_ms=TIMEOUT_MS + 1)
    writer.ask(began + _minutes(120), user, (4,))
    writer.watch(began + _minutes(30), user, 2, minutes=50)
    writer.watch(began + _minutes(61), user, 1, minutes=40)
    writer.watch(began + _minutes(40), user, 3, minutes=30)
    writer.watch(began + _minutes(130), user, 9, minutes=7)
    until = timeline.started + timedelta(hours=6)
    update_exposures(database, timeline, RULES, until, until)
    # Movie 1 begins after the window of its list, movie 3 was not in the first list, movie 9 in none.
    assert rows(database, HOURS, user) == [(5, 1, 1, 2, 1, 120, 127)]
    assert rows(database, "SELECT arm FROM experiment_users") == [("canary",)]


def test_update_exposures_later_list_changes_nothing_of_an_earlier_one(
    database: Database, writer: ExperimentStream, timeline: Timeline
) -> None:
    """The reward of a list is what was begun within its own window, whatever is shown later: not of the policy."""
    first, second = list_users(timeline.release, "canary", 2)
    began = timeline.started + _minutes(10)
    for user in (first, second):
        writer.ask(began, user, (1, 2))
        writer.watch(began + _minutes(50), user, 1, minutes=20)
    writer.ask(began + _minutes(45), second, (1, 5))
    until = timeline.started + timedelta(hours=6)
    update_exposures(database, timeline, RULES, until, until)
    totals = "SELECT sum(lists), sum(watched), sum(minutes) FROM experiment_hours WHERE user_id = %s"
    assert rows(database, totals, first) == [(1, 1, 20)]
    assert rows(database, totals, second) == [(2, 2, 20)]  # Each list has its own outcome; minutes count once.


def test_update_exposures_clicks_count_once_within_the_window(
    database: Database, writer: ExperimentStream, timeline: Timeline
) -> None:
    """A movie of a list that its user clicked counts once, and not after the window."""
    (user,) = list_users(timeline.release, "canary", 1)
    asked = timeline.started + _minutes(10)
    writer.ask(asked, user, (1, 2, 3))
    for minutes, movie in ((1, 1), (2, 1), (3, 9), (61, 2)):
        writer.click(asked + _minutes(minutes), user, movie)
    update_exposures(database, timeline, RULES, asked + 2 * WINDOW, asked + 2 * WINDOW)
    assert rows(database, "SELECT sum(lists), sum(watched), sum(clicked) FROM experiment_hours") == [(1, 0, 1)]


def test_update_exposures_open_window_does_not_count(
    database: Database, writer: ExperimentStream, timeline: Timeline
) -> None:
    """A list counts once its window is over, of both arms alike: a young arm does not look worse."""
    (user,) = list_users(timeline.release, "control", 1)
    asked = timeline.started + _minutes(10)
    writer.ask(asked, user, (1,))
    writer.watch(asked + _minutes(5), user, 1)
    for until, expected in ((asked + WINDOW - _minutes(1), (1, 0, 0)), (asked + WINDOW, (1, 1, 1))):
        update_exposures(database, timeline, RULES, until, until)
        assert rows(database, "SELECT asks, lists, watched FROM experiment_hours WHERE asks > 0") == [expected]


def test_update_exposures_again_changes_nothing(
    database: Database, writer: ExperimentStream, timeline: Timeline
) -> None:
    """A run that is repeated, or was killed in between, writes the same rows."""
    for user in list_users(timeline.release, "canary", 2) + list_users(timeline.release, "outside", 2):
        writer.ask(timeline.started + _minutes(30), user, (1,))
    until = timeline.started + timedelta(hours=3)
    tables = (
        "SELECT * FROM experiment_users ORDER BY user_id",
        "SELECT * FROM experiment_hours ORDER BY user_id, time",
    )
    update_exposures(database, timeline, RULES, until, until)
    first = [rows(database, query) for query in tables]
    update_exposures(database, timeline, RULES, until, until)
    assert [rows(database, query) for query in tables] == first
    assert len(first[0]) == 2


def test_update_exposures_user_of_a_later_step_counts_from_then(
    database: Database, writer: ExperimentStream, store: FileStore, timeline: Timeline
) -> None:
    """A request from before the enrolment belongs to no arm."""
    now = datetime.now(UTC)
    step = enrol_more(store, timeline.name, enrolled=1.0, author="t", reason="", evidence="", expected=timeline.release)
    later = next(user for user in list_users(step, "canary", 200) if timeline.release.assign(user).name == "outside")
    writer.ask(now - timedelta(hours=2), later, (1,))
    writer.ask(now + _minutes(1), later, (2,))
    update_exposures(database, read_timeline(store), RULES, now + _minutes(2), now + _minutes(2))
    assert rows(database, "SELECT user_id, arm FROM experiment_users") == [(later, "canary")]
    assert rows(database, "SELECT sum(asks) FROM experiment_hours") == [(1,)]


def test_update_exposures_impressions_tell_who_was_served_by_two_arms(
    database: Database, writer: ExperimentStream, timeline: Timeline
) -> None:
    """Impressions of other releases, and of users outside, tell nothing."""
    one, two, three = list_users(timeline.release, "canary", 3)
    time = timeline.started + _minutes(5)
    for user in (one, two, three):
        writer.ask(time, user)
        writer.show(time, user, "canary", timeline.release.number)
    writer.show(time + _minutes(1), two, "control", timeline.release.number)
    writer.show(time + _minutes(1), three, "control", 1)
    writer.show(time + _minutes(1), three, "outside", timeline.release.number)
    until = time + timedelta(hours=1)
    for _ in range(2):
        update_exposures(database, timeline, RULES, until, until)
        shown = rows(database, "SELECT user_id, shown_arm, crossed FROM experiment_users ORDER BY first_asked, user_id")
        assert sorted(shown) == sorted([(one, "canary", False), (two, "canary", True), (three, "canary", False)])


def test_update_exposures_days_equal_the_hours_after_each_run(
    database: Database, writer: ExperimentStream, timeline: Timeline
) -> None:
    """Lists and movies begun by arm and day since the first request are sums of the hours, late records included."""
    begin = timeline.started + _minutes(10)
    users = [(arm, user) for arm in ("control", "canary") for user in list_users(timeline.release, arm, 3)]
    runs = (timeline.started + timedelta(hours=3), timeline.started + timedelta(hours=6))
    for number, until in enumerate(runs):
        for place, (_, user) in enumerate(users):
            asked = begin + _minutes(70 * place + 35 * number)
            writer.ask(asked, user, (1, 2))
            writer.watch(asked + _minutes(5), user, 1 + number, minutes=20)
        update_exposures(database, timeline, RULES, until, until)
        assert rows(database, DAYS) == rows(database, DAYS_OF_HOURS) != []
