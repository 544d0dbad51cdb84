"""One evaluation of an alert rule, and the states that successive evaluations lead to."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Literal

from msgspec import Struct
from msgspec.structs import replace

from marquee.db.pool import Database
from marquee.errors import DatabaseRefused, DatabaseUnavailable, PanelRefused
from marquee.grafana.macros import TimeRange
from marquee.grafana.panel_query import run_panel_query
from marquee.monitoring.alerts.rules_file import Rule

NO_DATA = "no data"


class AlertValue(Struct, frozen=True):
    """Row of a rule's query: its labels and its number. ``value`` is None where a problem stands for a value."""

    labels: dict[str, str]
    value: float | None


class RuleEvaluation(Struct, frozen=True):
    """Result of a rule's query. ``problem`` is empty, ``NO_DATA`` or an error message."""

    values: tuple[AlertValue, ...] = ()
    problem: str = ""


class Alert(Struct, frozen=True):
    """State of one set of labels of a rule. ``since`` is when the condition began to hold, None if it does not."""

    uid: str
    title: str
    severity: str
    runbook: str
    dashboard: str
    panel: int
    unit: str
    labels: dict[str, str]
    value: float | None
    state: Literal["normal", "pending", "firing"] = "normal"
    since: datetime | None = None
    summary: str = ""


def evaluate_rule(database: Database, rule: Rule, time: datetime) -> RuleEvaluation:
    """Run the query of ``rule`` as of ``time``. A failure is part of the result."""
    span, sql = rule.data[0].relative_time_range, rule.data[0].model.raw_sql
    time_range = TimeRange(time - timedelta(seconds=span["from"]), time - timedelta(seconds=span["to"]))
    try:
        table = run_panel_query(database, sql, time_range)
        values = tuple(_alert_value(rule, table.columns, row) for row in table.rows)
    except (PanelRefused, DatabaseUnavailable, DatabaseRefused) as error:
        return RuleEvaluation(problem=str(error))
    return RuleEvaluation(values, "" if values else NO_DATA)


def _alert_value(rule: Rule, columns: Sequence[str], row: Sequence[Any]) -> AlertValue:
    """Split a row into labels and its number, under the same conditions as Grafana."""
    labels = {column: value for column, value in zip(columns, row, strict=True) if isinstance(value, str)}
    numbers = [value for value in row if not isinstance(value, str)]
    if len(numbers) != 1 or not isinstance(numbers[0], int | float | Decimal) or isinstance(numbers[0], bool):
        raise PanelRefused(f"{rule.uid}: a row must be one number and otherwise text columns, not {row!r}")
    return AlertValue(labels, float(numbers[0]))


def advance_alerts(
    rule: Rule, previous: Sequence[Alert], evaluation: RuleEvaluation, time: datetime
) -> tuple[Alert, ...]:
    """Return the alerts after ``evaluation``: one for each value above the threshold, or else a normal one.

    Without data or after an error the rule itself says which state follows, as in Grafana.
    """
    active = [alert for alert in previous if alert.state != "normal"]
    high = [each for each in evaluation.values if each.value is not None and each.value > rule.threshold]
    summary = evaluation.problem or rule.annotations.summary
    if evaluation.problem:
        action = rule.no_data_state if evaluation.problem == NO_DATA else rule.exec_err_state
        if action == "KeepLast" and previous:
            return tuple(previous)
        if action == "Alerting":
            high = [AlertValue(alert.labels, None) for alert in active] or [AlertValue({}, None)]
    if not high:
        worst = max(evaluation.values, key=lambda each: each.value or 0.0, default=AlertValue({}, None))
        return (_create_alert(rule, worst),)
    return tuple(_activate(rule, active, _create_alert(rule, each), summary, time) for each in high)


def _create_alert(rule: Rule, value: AlertValue) -> Alert:
    notes = rule.annotations
    links = (rule.labels["severity"], notes.runbook_url, notes.dashboard_uid, int(notes.panel_id), notes.unit)
    return Alert(rule.uid, rule.title, *links, value.labels, value.value)


def _activate(rule: Rule, active: Sequence[Alert], alert: Alert, summary: str, time: datetime) -> Alert:
    """Return the alert as pending, or as firing if the condition has held for long enough."""
    since = next((each.since for each in active if each.labels == alert.labels and each.since), time)
    state: Literal["pending", "firing"] = "firing" if time - since >= rule.pending_period else "pending"
    return replace(alert, state=state, since=since, summary=summary)
