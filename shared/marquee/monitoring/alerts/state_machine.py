"""From readings to states, as Grafana has them: normal, pending for as long as the rule says, firing, resolved.

No I/O and no clock in here: readings and times are handed in.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Literal

import msgspec

from marquee.grafana.durations import parse_duration
from marquee.monitoring.alerts.evaluate import NO_DATA, AlertValue, Reading
from marquee.monitoring.alerts.provisioning import Rule

State = Literal["pending", "firing", "no data", "error"]
EVALUATIONS_TO_RESOLVE = 2
"""An instance whose row is gone, while others are there, is resolved after so many readings."""


class AlertInstance(msgspec.Struct, frozen=True):
    """One set of labels of one rule, while it is not normal. ``since``: when its condition began to hold."""

    labels: dict[str, str]
    state: State
    since: datetime
    value: float | None = None
    missing: int = 0
    problem: str = ""


class AlertState(msgspec.Struct, frozen=True):
    """What is known of one rule: its instances that are not normal, and its latest reading's values."""

    instances: tuple[AlertInstance, ...] = ()
    values: tuple[tuple[dict[str, str], float | None], ...] = ()
    evaluated: datetime | None = None


def advance(rule: Rule, memory: AlertState, reading: Reading, now: datetime) -> AlertState:
    """The memory after ``reading``."""
    if reading.problem:
        state = rule.no_data_state if reading.problem == NO_DATA else rule.exec_err_state
        return AlertState(_after_problem(rule, memory, state, reading.problem, now), (), now)
    values = tuple((number.labels, number.value) for number in reading.numbers)
    return AlertState(_after_numbers(rule, memory, reading.numbers, now), values, now)


def firing(memory: AlertState) -> tuple[AlertInstance, ...]:
    """The instances that somebody should be told of."""
    return tuple(instance for instance in memory.instances if instance.state != "pending")


def _after_numbers(
    rule: Rule, memory: AlertState, numbers: Sequence[AlertValue], now: datetime
) -> tuple[AlertInstance, ...]:
    known = _by_labels(memory)
    there = {_key(number.labels) for number in numbers}
    over = [
        _held(rule, known.get(_key(number.labels)), number.labels, number.value, now)
        for number in numbers
        if number.over
    ]
    gone = [
        msgspec.structs.replace(instance, missing=instance.missing + 1)
        for key, instance in known.items()
        if key not in there and instance.missing + 1 < EVALUATIONS_TO_RESOLVE and not instance.problem
    ]
    return tuple(over + gone)


def _after_problem(
    rule: Rule, memory: AlertState, state: str, problem: str, now: datetime
) -> tuple[AlertInstance, ...]:
    """No data, or an error, is what the rule says it is."""
    if state == "KeepLast":
        return memory.instances
    if state == "OK":
        return ()
    if state == "Alerting":
        before = memory.instances or (None,)
        return tuple(_held(rule, one, one.labels if one else {}, None, now, problem) for one in before)
    told: State = "no data" if state == "NoData" else "error"
    since = next((one.since for one in memory.instances if one.state == told), now)
    return (AlertInstance({}, told, since, problem=problem),)


def _held(
    rule: Rule,
    before: AlertInstance | None,
    labels: dict[str, str],
    value: float | None,
    now: datetime,
    problem: str = "",
) -> AlertInstance:
    """The condition holds: firing once it has for long enough, and then until it does not."""
    counted = before is not None and before.state in ("pending", "firing")
    since = before.since if before and counted else now
    fires = (before is not None and before.state == "firing") or now - since >= lasting(rule)
    return AlertInstance(labels, "firing" if fires else "pending", since, value, problem=problem)


def lasting(rule: Rule) -> timedelta:
    """How long the condition has to hold."""
    return timedelta() if rule.for_ == "0s" else parse_duration(rule.for_)


def _by_labels(memory: AlertState) -> dict[tuple[tuple[str, str], ...], AlertInstance]:
    return {_key(instance.labels): instance for instance in memory.instances}


def _key(labels: dict[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(labels.items()))
