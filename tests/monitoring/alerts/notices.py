"""Alerts of one rule, and what would be told of them by the policy of the repository."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tests.monitoring.alerts.conftest import BY_NAME, ROOT

from marquee.monitoring.alerts.alert import Alert, of_rule
from marquee.monitoring.alerts.grouping import Notice, Sent, due
from marquee.monitoring.alerts.provisioning import read_notifications
from marquee.monitoring.alerts.state_machine import AlertInstance, AlertState

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
NOTIFICATIONS = read_notifications(ROOT / "infra/grafana/provisioning/alerting/slack.yaml")
POLICY = NOTIFICATIONS.policies[0]
RULE = BY_NAME["drift"]
PANEL = RULE.annotations["__panelId__"]


def alerting(*checks: str) -> list[Alert]:
    instances = tuple(AlertInstance({"check": check}, "firing", NOW, 0.31) for check in checks)
    return list(of_rule(RULE, AlertState(instances)))


def at(minutes: float, found: list[Alert], sent: Sent | None) -> Notice | None:
    return due(RULE, found, sent, POLICY, NOW + timedelta(minutes=minutes))


def sent(*checks: str) -> Sent:
    return Sent(NOW, tuple(alerting(*checks)))
