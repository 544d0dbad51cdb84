"""An alert as it is shown: what, how bad, since when, where to look and what to do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Literal

import msgspec

from marquee.monitoring.alerts.provisioning import Group, Rule
from marquee.monitoring.alerts.state_machine import AlertState
from marquee.monitoring.alerts.summary import filled


class Alert(msgspec.Struct, frozen=True):
    """One rule, or one of its instances. ``since``: when the condition began to hold; None where it does not.

    ``summary`` is empty where nothing is wrong; ``dashboard`` and ``panel``: uid and number of what to look at.
    """

    uid: str
    title: str
    state: Literal["normal", "pending", "firing", "no data", "error"]
    value: float | None
    since: datetime | None
    severity: str
    summary: str
    runbook: str
    dashboard: str
    panel: int
    labels: dict[str, str]
    problem: str = ""

    @property
    def fires(self) -> bool:
        """Whether somebody should be told."""
        return self.state not in ("normal", "pending")


_ORDER = {"firing": 0, "error": 1, "no data": 2, "pending": 3, "normal": 4}


def alerts(groups: Sequence[Group], memories: dict[str, AlertState]) -> list[Alert]:
    """All rules, what fires first; a rule of which nothing is wrong is there once."""
    found = [
        alert
        for group in groups
        for rule in group.rules
        for alert in of_rule(rule, memories.get(rule.uid, AlertState()))
    ]
    return sorted(found, key=lambda alert: _ORDER[alert.state])


def of_rule(rule: Rule, memory: AlertState) -> Iterator[Alert]:
    """The instances that are not normal, or the rule itself with its largest value."""
    for one in memory.instances:
        yield _alert(rule, one.state, one.labels, one.value, one.since, one.problem)
    if not memory.instances:
        worst = max(
            memory.values, key=lambda pair: -1e300 if pair[1] is None else pair[1], default=({}, None)
        )
        yield _alert(rule, "normal", worst[0], worst[1], None)


def _alert(
    rule: Rule,
    state: Literal["normal", "pending", "firing", "no data", "error"],
    labels: dict[str, str],
    value: float | None,
    since: datetime | None,
    problem: str = "",
) -> Alert:
    said = "" if state == "normal" else filled(rule.annotations["summary"], labels, value)
    return Alert(
        rule.uid,
        rule.title,
        state,
        value,
        since,
        rule.labels["severity"],
        f"{rule.title}: {problem}." if problem else said,
        rule.annotations["runbook_url"],
        rule.annotations["__dashboardUid__"],
        int(rule.annotations["__panelId__"]),
        labels,
        problem,
    )
