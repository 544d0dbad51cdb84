"""Every rule rests on good data and fires on bad data, to the boundary, on both kinds of database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from tests.monitoring.alerts import faults
from tests.monitoring.alerts.conftest import BY_NAME, GROUPS
from tests.monitoring.alerts.faults import FAULTS, NEW, OLD

from marquee.db.pool import Database
from marquee.monitoring.alerts.evaluate import NO_DATA, evaluate_rule
from marquee.monitoring.alerts.state_machine import lasting
from marquee.monitoring.alerts.watcher import current

pytestmark = pytest.mark.servers
NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


def over(database: Database, name: str, at: datetime = NOW) -> list[tuple[dict[str, str], float | None]]:
    """What is out of bounds; a query that fails is a failure."""
    found = evaluate_rule(database, BY_NAME[name], at)
    assert found.problem in ("", NO_DATA)
    return [(number.labels, number.value) for number in found.numbers if number.over]


def made(database: Database, name: str, value: float) -> None:
    faults.clear(database)
    with database.transaction() as cursor:
        FAULTS[name][0](cursor, NOW, value)


def test_every_rule_has_a_fault() -> None:
    assert set(FAULTS) == set(BY_NAME)


def test_a_good_day_is_quiet(plain: Database, day: datetime) -> None:
    """No rule is even pending, and all have numbers but the one that compares two versions of control."""
    found = current(plain, GROUPS, day)
    assert {alert.title: alert.state for alert in found if alert.state != "normal"} == {}
    assert {alert.title for alert in found if alert.value is None} <= {"Live RMSE worse"}


@pytest.mark.parametrize("name", sorted(FAULTS))
def test_a_rule_fires_just_beyond_its_threshold(name: str, bare: Database) -> None:
    """And not at it. The number is the one that the data were made for."""
    _, good, bad, labels = FAULTS[name]
    made(bare, name, good)
    assert over(bare, name) == []
    made(bare, name, bad)
    assert over(bare, name) == [(labels, pytest.approx(bad))]


@pytest.mark.parametrize("name", sorted(FAULTS))
def test_a_fault_fires_its_own_rule_alone(name: str, bare: Database) -> None:
    """But for what is silent because nothing else is in the database."""
    made(bare, name, FAULTS[name][2])
    bad = {other for other in BY_NAME if over(bare, other)}
    assert bad == {name}


@pytest.mark.parametrize("name", sorted(set(BY_NAME) - {"stream-silent", "monitor-silent"}))
def test_where_nothing_is_nothing_is_wrong(name: str, bare: Database) -> None:
    faults.clear(bare)
    assert evaluate_rule(bare, BY_NAME[name], NOW).problem == NO_DATA
    assert BY_NAME[name].no_data_state == "OK"


def test_silence_itself_fires(bare: Database) -> None:
    """An empty database: the stream and the monitor, no other."""
    faults.clear(bare)
    found = current(bare, GROUPS, NOW)
    assert {alert.title for alert in found if alert.state == "firing"} == {"Stream silent", "Monitor silent"}
    assert {alert.state for alert in found} == {"firing", "normal"}


def test_few_requests_are_not_judged(bare: Database) -> None:
    """99 in ten minutes, all failed; the hundredth makes it count."""
    for requests, count in ((99, 0), (100, 1)):
        faults.clear(bare)
        with bare.transaction() as cursor:
            faults.asked(cursor, NOW, requests, 0, minutes=1)
        assert len(over(bare, "error-rate")) == count


def test_few_lines_are_not_judged(bare: Database) -> None:
    faults.clear(bare)
    with bare.transaction() as cursor:
        faults.delivered(cursor, NOW - timedelta(minutes=2), 99)
        cursor.execute(
            "INSERT INTO quarantine VALUES (%s, 1, 0, 1, 'x', '', '')", (NOW - timedelta(minutes=2),)
        )
    assert evaluate_rule(bare, BY_NAME["quarantine-burst"], NOW).problem == NO_DATA


def test_a_rollback_ends_a_regression(bare: Database) -> None:
    """An hour after it the old version serves, which is better than the other."""
    made(bare, "live-rmse", 0.1)
    assert over(bare, "live-rmse")
    with bare.transaction() as cursor:
        faults.accuracy(cursor, NOW - timedelta(minutes=4), 3_600, "control", OLD, 0.9, 1.0, ratings=9_000)
    assert over(bare, "live-rmse") == []


def test_a_release_is_compared_with_the_one_just_before(bare: Database) -> None:
    """Not with one that was better two versions ago."""
    made(bare, "live-rmse", -0.05)
    with bare.transaction() as cursor:
        faults.accuracy(cursor, NOW - timedelta(days=2), 86_400, "control", "ancient", 0.2, 0.3)
    assert over(bare, "live-rmse") == []


def test_a_better_canary_is_no_alert(bare: Database) -> None:
    made(bare, "canary-regressed", -9)
    assert over(bare, "canary-regressed") == []
    assert over(bare, "live-rmse") == []


def test_a_canary_that_fewer_people_watch_regresses(bare: Database) -> None:
    """10 % of 10,000 against 7.9 %: about 2.5 doubled standard errors; against 7 %: 3.8."""
    for watched, fires in ((790, False), (700, True)):
        made(bare, "canary-regressed", 0)
        with bare.transaction() as cursor:
            faults.watched(cursor, NOW, "control", OLD, 10_000, 1_000)
            faults.watched(cursor, NOW, "canary", NEW, 10_000, watched)
        found = over(bare, "canary-regressed")
        assert [labels["measure"] for labels, _ in found] == (["share of movies watched"] if fires else [])


def test_a_canary_that_is_over_is_forgotten(bare: Database) -> None:
    made(bare, "canary-regressed", 9)
    assert over(bare, "canary-regressed")
    assert over(bare, "canary-regressed", NOW + timedelta(hours=2)) == []


def test_an_alert_waits_as_long_as_its_rule_says(bare: Database) -> None:
    """Read now and as of the moments before: firing if it was so throughout, pending if not."""
    rule = BY_NAME["error-rate"]
    faults.clear(bare)
    with bare.transaction() as cursor:
        faults.asked(cursor, NOW, 1_000, 900, minutes=1)
    (alert,) = [a for a in current(bare, GROUPS, NOW) if a.title == rule.title]
    assert alert.state == "pending"
    assert alert.since is not None
    assert NOW - alert.since < lasting(rule)
    later = NOW + lasting(rule)
    (alert,) = [a for a in current(bare, GROUPS, later) if a.title == rule.title]
    assert (alert.state, alert.since) == ("firing", NOW)


def test_a_database_that_is_away_fires_one_rule(tmp_path: object) -> None:
    """Of all rules the stream's alone says that nothing can be asked; the others keep what they knew."""
    away = Database("postgresql://nobody@127.0.0.1:1/none", connect_timeout_s=0.2)
    found = current(away, GROUPS, NOW)
    assert [alert.title for alert in found if alert.state != "normal"] == ["Stream silent"]
    assert "No connection" in found[0].problem
