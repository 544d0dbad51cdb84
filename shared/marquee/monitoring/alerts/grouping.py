"""When somebody is told of a rule, and of what: grouped by rule, not repeated before its time.

After Alertmanager's notification policies. The wait for others of the group is left out: a rule's instances are
read together anyway. No I/O in here.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec

from marquee.grafana.durations import parse_duration
from marquee.monitoring.alerts.alert import Alert
from marquee.monitoring.alerts.provisioning import Policy, Rule


class Sent(msgspec.Struct, frozen=True):
    """The last notice of a rule that arrived, and what it said was firing."""

    time: datetime
    firing: tuple[Alert, ...]


class Notice(msgspec.Struct, frozen=True):
    """One message about one rule: what fires, and what fired and does no more. ``time``: when it was made."""

    title: str
    severity: str
    firing: tuple[Alert, ...]
    resolved: tuple[Alert, ...]
    time: datetime


def due(
    rule: Rule, found: Sequence[Alert], sent: Sent | None, policy: Policy, now: datetime
) -> Notice | None:
    """The notice to send now, or None. ``found``: the rule's alerts; ``sent``: what was told last, if that stands."""
    firing = tuple(alert for alert in found if alert.fires)
    told = sent.firing if sent else ()
    resolved = tuple(alert for alert in told if not _among(alert, firing))
    changed = bool(resolved) or any(not _among(alert, told) for alert in firing)
    waited = timedelta.max if sent is None else now - sent.time
    repeated = bool(firing) and waited >= parse_duration(policy.repeat_interval)
    if not (repeated or (changed and waited >= parse_duration(policy.group_interval))):
        return None
    return Notice(rule.title, rule.labels["severity"], firing, resolved, now)


def _among(alert: Alert, others: Sequence[Alert]) -> bool:
    return any(alert.labels == other.labels for other in others)
