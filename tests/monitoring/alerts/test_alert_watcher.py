"""Watcher of the alert rules: evaluation intervals, posts, and the background thread."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.monitoring.alerts import rule_faults
from tests.monitoring.alerts.conftest import GROUPS
from tests.servers.webhook import Webhook
from tests.support.waiting import wait_until

from marquee.db.pool import Database
from marquee.local.process import free_port
from marquee.monitoring.alerts.evaluate import Alert
from marquee.monitoring.alerts.watcher import AlertWatcher, watch_in_background
from marquee.monitoring.alerts.webhook import AlertWebhook

pytestmark = pytest.mark.servers
NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


@pytest.fixture
def receiver() -> Iterator[Webhook]:
    with closing(Webhook()) as receiver:
        yield receiver


@pytest.fixture
def webhook(receiver: Webhook) -> AlertWebhook:
    return AlertWebhook(receiver.url, "")


def write_good_minutes(cursor: Any, minutes: int) -> None:
    """Write deliveries and monitor runs for each minute from ``NOW`` on."""
    for minute in range(minutes):
        time = NOW + timedelta(minutes=minute)
        rule_faults.insert_delivery(cursor, time, 1_000)
        rule_faults.insert_monitor_run(cursor, time, "quality")


def write_error_burst(database: Database) -> None:
    """Write half an hour in which half of the requests fail from minute 5 to minute 15."""
    rule_faults.clear_tables(database)
    with database.transaction() as cursor:
        write_good_minutes(cursor, 30)
        for minute in range(30):
            answered = 50 if 5 <= minute < 15 else 100
            rule_faults.insert_requests(cursor, NOW + timedelta(minutes=minute), 100, answered, minutes=1)


def post_titles(receiver: Webhook) -> list[str]:
    """Return the titles of the messages that arrived."""
    return [message["text"] for message in receiver.posted]


def test_watcher_fault_posts_start_and_end_once(
    postgres_database: Database, webhook: AlertWebhook, receiver: Webhook
) -> None:
    """Evaluated every minute, a fault is normal, pending, firing and normal, and posted twice in all."""
    write_error_burst(postgres_database)
    watcher, states = AlertWatcher(postgres_database, GROUPS, webhook), []
    for minute in range(1, 30):
        alerts = watcher.evaluate(NOW + timedelta(minutes=minute))
        states += [alert.state for alert in alerts if alert.title == "Error rate"]
        assert {alert.title for alert in alerts if alert.state != "normal"} <= {"Error rate"}
    changes = [state for state, before in zip(states, [None, *states], strict=False) if state != before]
    assert changes == ["normal", "pending", "firing", "normal"]
    assert post_titles(receiver) == ["[CRITICAL] Error rate", "[RESOLVED] Error rate"]


def test_watcher_restart_posts_what_still_fires(
    postgres_database: Database, webhook: AlertWebhook, receiver: Webhook
) -> None:
    """A new watcher knows of no post, and reports a rule that fires at its start."""
    write_error_burst(postgres_database)
    for _ in range(2):
        AlertWatcher(postgres_database, GROUPS, webhook).evaluate(NOW + timedelta(minutes=14))
    assert post_titles(receiver) == ["[CRITICAL] Error rate"] * 2


def test_watcher_of_a_system_that_has_just_started_fires_nothing(postgres_database: Database) -> None:
    """Silence is pending, since the database was made and not before; it fires if it stays so."""
    rule_faults.clear_tables(postgres_database)
    with postgres_database.transaction() as cursor:
        cursor.execute("UPDATE migrations SET applied = now() - INTERVAL '30 seconds'")
    now = datetime.now(UTC)
    watcher = AlertWatcher(postgres_database, GROUPS)
    alerts = watcher.evaluate(now)
    assert {alert.title for alert in alerts if alert.state == "pending"} >= {"Stream silent", "Monitor silent"}
    assert [alert.title for alert in alerts if alert.state == "firing"] == []
    for minute in range(1, 15):
        alerts = watcher.evaluate(now + timedelta(minutes=minute))
    assert {alert.title for alert in alerts if alert.state == "firing"} >= {"Stream silent", "Monitor silent"}


def test_watcher_undelivered_post_is_dropped_when_resolved(
    postgres_database: Database, webhook: AlertWebhook, receiver: Webhook
) -> None:
    """Without a post about the start there is none about the end."""
    write_error_burst(postgres_database)
    receiver.statuses.extend([503] * 50)
    watcher = AlertWatcher(postgres_database, GROUPS, webhook)
    watcher.evaluate(NOW + timedelta(minutes=14))
    receiver.statuses.clear()
    watcher.evaluate(NOW + timedelta(minutes=28))
    assert post_titles(receiver) == ["[CRITICAL] Error rate"]


def test_watcher_evaluates_rules_at_their_interval(postgres_database: Database) -> None:
    """A rule of five minutes is evaluated at the sixth of evaluations a minute apart."""
    rule_faults.clear_tables(postgres_database)
    watcher, values = AlertWatcher(postgres_database, GROUPS), []
    for minute in range(7):
        now = NOW + timedelta(minutes=minute)
        with postgres_database.transaction() as cursor:
            cursor.execute("TRUNCATE quality_checks")
            rule_faults.insert_check(cursor, now, "model.age_h", 10 + minute)
        alerts = watcher.evaluate(now)
        values += [alert.value for alert in alerts if alert.title == "Model stale"]
    assert values == [10, 10, 10, 10, 10, 15, 15]


def first_alerts(url: str) -> Sequence[Alert]:
    """Return the first alerts of a watcher in the background."""
    with closing(Database(url, connect_timeout_s=2)) as database:
        watcher = AlertWatcher(database, GROUPS)
        with watch_in_background(watcher, every_s=0.05) as latest_alerts:
            wait_until(lambda: bool(latest_alerts()))
            return latest_alerts()


def test_watch_in_background_lists_every_rule(database_url: str) -> None:
    """The thread soon has a state for each rule."""
    alerts = first_alerts(database_url)
    assert {alert.uid for alert in alerts} == {rule.uid for group in GROUPS for rule in group.rules}
    assert {alert.title for alert in alerts if alert.state != "normal"} >= {"Stream silent"}


def test_watch_in_background_database_unavailable_is_a_state() -> None:
    """The thread goes on, and "Stream silent" reports that the database cannot be queried."""
    alerts = first_alerts(f"postgresql://app@127.0.0.1:{free_port()}/none")
    silent = next(alert for alert in alerts if alert.title == "Stream silent")
    assert silent.state == "pending"
