"""Each rule is quiet on good data and fires on its fault, on both kinds of database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from tests.grafana.good_day import write_good_day
from tests.monitoring.alerts import rule_faults
from tests.monitoring.alerts.conftest import GROUPS, RULES
from tests.monitoring.alerts.rule_faults import FAULTS, NEW_VERSION, OLD_VERSION

from marquee.db.pool import Database
from marquee.monitoring.alerts.evaluate import NO_DATA, Alert, evaluate_rule
from marquee.monitoring.alerts.watcher import AlertWatcher

pytestmark = pytest.mark.servers
NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


def current_alerts(database: Database, now: datetime = NOW) -> list[Alert]:
    """Return the alerts that a new watcher reports as of ``now``."""
    return AlertWatcher(database, GROUPS).evaluate(now)


def values_above(database: Database, name: str, now: datetime = NOW) -> list[tuple[dict[str, str], float | None]]:
    """Return the labels and values above the rule's threshold; fail if the query fails."""
    evaluation = evaluate_rule(database, RULES[name], now)
    assert evaluation.problem in ("", NO_DATA)
    return [
        (each.labels, each.value)
        for each in evaluation.values
        if each.value is not None and each.value > RULES[name].threshold
    ]


def write_fault(database: Database, name: str, value: float) -> None:
    """Make the rows of a fault the only ones in the database."""
    rule_faults.clear_tables(database)
    with database.transaction() as cursor:
        FAULTS[name].insert(cursor, NOW, value)


def test_faults_cover_every_rule() -> None:
    """A new rule needs a fault."""
    assert set(FAULTS) == set(RULES)


def test_all_rules_good_day_are_normal(postgres_database: Database) -> None:
    """On a realistic day no rule is even pending. Rules on ages, weeks, two versions and harm have no value."""
    alerts = current_alerts(postgres_database, write_good_day(postgres_database, datetime.now(UTC)))
    assert {alert.title: alert.state for alert in alerts if alert.state != "normal"} == {}
    without_value = {alert.title for alert in alerts if alert.value is None}
    assert without_value <= {"Age rule", "Concentration", "Live RMSE worse", "Experiment harmed"}


@pytest.mark.parametrize("name", sorted(FAULTS))
def test_rule_just_above_threshold_fires(name: str, module_database: Database) -> None:
    """The rule is quiet at its threshold. Above it the value is the one that the data were written for."""
    fault = FAULTS[name]
    write_fault(module_database, name, fault.good)
    assert values_above(module_database, name) == []
    write_fault(module_database, name, fault.bad)
    ((labels, value),) = values_above(module_database, name)
    assert labels == fault.labels
    assert value == pytest.approx(fault.bad)


@pytest.mark.parametrize("name", sorted(FAULTS))
def test_fault_fires_only_its_own_rule(name: str, module_database: Database) -> None:
    """One fault gives one alert."""
    write_fault(module_database, name, FAULTS[name].bad)
    assert {other for other in RULES if values_above(module_database, other)} == {name}


@pytest.mark.parametrize("name", sorted(set(RULES) - {"stream-silent", "monitor-silent"}))
def test_rule_empty_tables_has_no_data_which_is_good(name: str, module_database: Database) -> None:
    """Without requests, ratings or a canary nothing is wrong."""
    rule_faults.clear_tables(module_database)
    assert evaluate_rule(module_database, RULES[name], NOW).problem == NO_DATA
    assert RULES[name].no_data_state == "OK"


def test_silence_rules_empty_tables_fire(module_database: Database) -> None:
    """On an empty database the rules for the stream and the monitor fire, and no others."""
    rule_faults.clear_tables(module_database)
    alerts = current_alerts(module_database)
    firing = {alert.title for alert in alerts if alert.state == "firing"}
    assert firing == {"Stream silent", "Monitor silent"}
    assert {alert.state for alert in alerts} == {"firing", "normal"}


def write_deliveries(database: Database, ages: dict[str, timedelta]) -> None:
    """Make one minute of deliveries of each topic, of the given age, the only rows in the database."""
    rule_faults.clear_tables(database)
    with database.transaction() as cursor:
        for topic, age in ages.items():
            rule_faults.insert_delivery(cursor, NOW - age, 1_000, topic=topic)


def test_stream_silent_one_of_two_topics_fires(module_database: Database) -> None:
    """A topic that is written does not hide another one that is silent."""
    write_deliveries(module_database, {"movielog1": timedelta(seconds=20), "movielog2": timedelta(minutes=10)})
    assert values_above(module_database, "stream-silent") == [({"topic": "movielog2"}, 600.0)]


def test_stream_silent_events_over_http_are_not_expected_beside_a_log(module_database: Database) -> None:
    """One user who rated a movie starts no alert; without a log, all sources together are expected."""
    quiet = {"http/ana": timedelta(minutes=10), "http/app": timedelta(minutes=20)}
    write_deliveries(module_database, {"movielog1": timedelta(seconds=20), **quiet})
    assert values_above(module_database, "stream-silent") == []
    write_deliveries(module_database, quiet)
    assert values_above(module_database, "stream-silent") == [({"topic": "http"}, 600.0)]


def test_stream_silent_topic_given_up_is_quiet_after_a_day(module_database: Database) -> None:
    """A topic without records in the day before the newest record is not expected to be written again."""
    write_deliveries(module_database, {"movielog1": timedelta(seconds=20), "old": timedelta(days=1, minutes=1)})
    assert values_above(module_database, "stream-silent") == []


def test_stream_silent_all_topics_for_days_fires(module_database: Database) -> None:
    """The day is counted back from the newest record, not from now."""
    write_deliveries(module_database, {"movielog1": timedelta(days=3)})
    assert values_above(module_database, "stream-silent") == [({"topic": "movielog1"}, 3 * 86_400.0)]


def test_error_rate_few_requests_is_quiet(module_database: Database) -> None:
    """99 failed requests in ten minutes are too few to judge, 100 are enough."""
    for requests, count in ((99, 0), (100, 1)):
        rule_faults.clear_tables(module_database)
        with module_database.transaction() as cursor:
            rule_faults.insert_requests(cursor, NOW, requests, 0, minutes=1)
        assert len(values_above(module_database, "error-rate")) == count


def test_quarantine_burst_few_records_is_quiet(module_database: Database) -> None:
    """99 records are too few to judge."""
    rule_faults.clear_tables(module_database)
    with module_database.transaction() as cursor:
        rule_faults.insert_delivery(cursor, NOW - timedelta(minutes=2), 99)
        cursor.execute("INSERT INTO quarantine VALUES (%s, 1, 0, 1, 'x', '', '')", (NOW - timedelta(minutes=2),))
    assert evaluate_rule(module_database, RULES["quarantine-burst"], NOW).problem == NO_DATA


def test_live_rmse_after_rollback_is_quiet(module_database: Database) -> None:
    """Once the old version serves most again, the rule compares it with the worse one and is quiet."""
    write_fault(module_database, "live-rmse", 0.1)
    assert values_above(module_database, "live-rmse")
    with module_database.transaction() as cursor:
        time = NOW - timedelta(minutes=4)
        rule_faults.insert_accuracy(cursor, time, 3_600, "control", OLD_VERSION, 0.9, 1.0, ratings=9_000)
    assert values_above(module_database, "live-rmse") == []


def test_live_rmse_compares_with_the_release_just_before(module_database: Database) -> None:
    """A version of two releases ago that was better does not count."""
    write_fault(module_database, "live-rmse", -0.05)
    with module_database.transaction() as cursor:
        rule_faults.insert_accuracy(cursor, NOW - timedelta(days=2), 86_400, "control", "oldest", 0.2, 0.3)
    assert values_above(module_database, "live-rmse") == []


def test_no_rule_judges_a_young_canary_by_open_windows(module_database: Database) -> None:
    """Two equal arms, the canary's lists two hours old and control's a day: nothing fires (it did before)."""
    rule_faults.clear_tables(module_database)
    with module_database.transaction() as cursor:
        for arm, version, watched in (("control", OLD_VERSION, 1_000), ("canary", NEW_VERSION, 700)):
            rule_faults.insert_watches(cursor, NOW, arm, version, 10_000, watched)
    assert {name for name in RULES if name.startswith("experiment") and values_above(module_database, name)} == set()


def test_no_rule_blames_a_good_canary_for_the_one_before(module_database: Database) -> None:
    """A bad canary of yesterday has more ratings than the good one of today: nothing fires (it did before)."""
    rule_faults.clear_tables(module_database)
    with module_database.transaction() as cursor:
        for version, low, ratings in (("bad", 1.3, 5_000), (NEW_VERSION, 0.8, 500)):
            time = NOW - timedelta(minutes=30)
            rule_faults.insert_accuracy(cursor, time, 86_400, "canary", version, low, low + 0.1, ratings)
        rule_faults.insert_accuracy(cursor, NOW - timedelta(minutes=30), 86_400, "control", OLD_VERSION, 0.9, 1.0)
        for arm, version in (("control", OLD_VERSION), ("canary", NEW_VERSION)):
            rule_faults.insert_accuracy(cursor, NOW - timedelta(minutes=5), 3_600, arm, version, 0.9, 1.1)
    assert {name for name in RULES if values_above(module_database, name)} <= {"stream-silent", "monitor-silent"}


def test_live_rmse_users_outside_an_experiment_count_with_control(module_database: Database) -> None:
    """While 2 % of the users are control, the serving model is still watched."""
    write_fault(module_database, "live-rmse", -0.05)
    with module_database.transaction() as cursor:
        time = NOW - timedelta(minutes=4)
        rule_faults.insert_accuracy(cursor, time, 86_400, "outside", NEW_VERSION, 1.3, 1.4, ratings=9_000)
    assert [labels for labels, _ in values_above(module_database, "live-rmse")] == [{"version": NEW_VERSION}]


def test_watcher_first_evaluation_replays_pending_period(module_database: Database) -> None:
    """A new watcher reports firing if the condition held during the pending period, and pending if it did not."""
    rule = RULES["error-rate"]
    rule_faults.clear_tables(module_database)
    with module_database.transaction() as cursor:
        rule_faults.insert_requests(cursor, NOW, 1_000, 900, minutes=1)
    (alert,) = [each for each in current_alerts(module_database) if each.title == rule.title]
    assert alert.state == "pending"
    assert alert.since is not None
    assert NOW - alert.since < rule.pending_period
    later = NOW + rule.pending_period
    (alert,) = [each for each in current_alerts(module_database, later) if each.title == rule.title]
    assert (alert.state, alert.since) == ("firing", NOW)


def test_watcher_database_unavailable_raises_one_alert() -> None:
    """Only "Stream silent" reports that the database cannot be queried."""
    unavailable = Database("postgresql://user@127.0.0.1:1/none", connect_timeout_s=0.2)
    alerts = current_alerts(unavailable)
    assert [alert.title for alert in alerts if alert.state != "normal"] == ["Stream silent"]
    assert "No connection" in alerts[0].summary
