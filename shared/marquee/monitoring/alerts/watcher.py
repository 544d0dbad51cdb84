"""Repeated evaluation of the alert rules, in a command or in the background of the local page."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from marquee.db.pool import Database
from marquee.errors import DatabaseRefused, DatabaseUnavailable
from marquee.grafana.durations import parse_duration
from marquee.monitoring.alerts.evaluate import NO_DATA, Alert, advance_alerts, evaluate_rule
from marquee.monitoring.alerts.rules_file import Rule, RuleGroup, read_rules
from marquee.monitoring.alerts.webhook import AlertWebhook

_REPLAYED_EVALUATIONS = 6
_BEGINNING = "SELECT min(applied) FROM migrations"


class AlertWatcher:
    """Evaluator of rules at their intervals. Posts once when a rule begins to fire and once when it resolves.

    States are not stored. The first evaluation of a rule replays its pending period, so that a rule which already
    fires is posted at the start. The next evaluation repeats a post that was not delivered.
    """

    def __init__(self, database: Database, groups: Sequence[RuleGroup], webhook: AlertWebhook | None = None) -> None:
        self._database = database
        self._groups = groups
        self._webhook = webhook
        self._alerts: dict[str, tuple[Alert, ...]] = {}
        self._evaluated: dict[str, datetime] = {}
        self._posted: dict[str, list[Alert]] = {}
        self._began: datetime | None = None

    def evaluate(self, now: datetime) -> list[Alert]:
        """Evaluate the rules that are due, post changes, and return all alerts, firing ones first."""
        if not self._evaluated:
            self._began = _find_beginning(self._database, now)
        for group in self._groups:
            interval = parse_duration(group.interval) - timedelta(seconds=1)
            for rule in group.rules:
                previous = self._alerts.get(rule.uid)
                if previous is None:
                    self._alerts[rule.uid] = replay_rule(self._database, rule, now, self._began)
                elif now - self._evaluated[rule.uid] < interval:
                    continue
                else:
                    evaluation = evaluate_rule(self._database, rule, now)
                    self._alerts[rule.uid] = advance_alerts(rule, previous, evaluation, now)
                self._evaluated[rule.uid] = now
        self._post_changes()
        alerts = (alert for each in self._alerts.values() for alert in each)
        return sorted(alerts, key=lambda alert: ("firing", "pending", "normal").index(alert.state))

    def _post_changes(self) -> None:
        for uid, alerts in self._alerts.items():
            firing = [alert for alert in alerts if alert.state == "firing"]
            posted = self._posted.get(uid, [])
            if self._webhook is not None and bool(firing) != bool(posted):
                if not self._webhook.post(firing or posted, resolved=not firing):
                    return
                self._posted[uid] = firing


@contextmanager
def watch_in_background(watcher: AlertWatcher, every_s: float = 10) -> Iterator[Callable[[], list[Alert]]]:
    """Evaluate in a thread every ``every_s`` seconds; yield a function that returns the newest alerts."""
    stop, alerts = threading.Event(), list[Alert]()

    def watch() -> None:
        while not stop.is_set():
            alerts[:] = watcher.evaluate(datetime.now(UTC))
            stop.wait(every_s)

    thread = threading.Thread(target=watch, name="alerts", daemon=True)
    thread.start()
    try:
        yield lambda: list(alerts)
    finally:
        stop.set()
        thread.join(5)


def _find_beginning(database: Database, now: datetime) -> datetime | None:
    """Return when the database was made; None if it cannot be read or is not before ``now``."""
    try:
        ((began,),) = database.read(_BEGINNING, deadline_ms=5_000)
    except (DatabaseUnavailable, DatabaseRefused):
        return None
    return began if began and began < now else None


def replay_rule(database: Database, rule: Rule, now: datetime, began: datetime | None = None) -> tuple[Alert, ...]:
    """Return the alerts of ``rule`` as of ``now`` without earlier states. ``since`` lies within the pending period.

    A rule that is not normal is also evaluated as of several times within its pending period, unless its query failed.
    No time before ``began`` is one of them, when the database was made: a system that has just started is not silent.
    """
    last = evaluate_rule(database, rule, now)
    alerts = advance_alerts(rule, (), last, now)
    if alerts[0].state == "normal" or last.problem not in ("", NO_DATA):
        return alerts
    alerts = ()
    for step in range(_REPLAYED_EVALUATIONS, 0, -1):
        time = now - rule.pending_period * step / _REPLAYED_EVALUATIONS
        if began is not None and time < began:
            continue
        alerts = advance_alerts(rule, alerts, evaluate_rule(database, rule, time), time)
    return advance_alerts(rule, alerts, last, now)


def create_watcher(database: Database, rules: Path, webhook_url: str, dashboards_url: str) -> AlertWatcher:
    """Return a watcher of the rules that posts to the webhook, if there is one, with links to the dashboards."""
    webhook = AlertWebhook(webhook_url, dashboards_url) if webhook_url else None
    return AlertWatcher(database, read_rules(rules), webhook)
