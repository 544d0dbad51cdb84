"""One rule asked once: its query run as Grafana would, its numbers held against the threshold."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from marquee.db.pool import Database
from marquee.errors import DatabaseRefused, DatabaseUnavailable, PanelRefused
from marquee.grafana.macros import TimeRange
from marquee.grafana.panel_query import run_panel_query
from marquee.monitoring.alerts.provisioning import Evaluator, Rule

NO_DATA = "no data"


@dataclass(frozen=True, slots=True)
class AlertValue:
    """One row: its labels, its number, and whether that is out of bounds."""

    labels: dict[str, str]
    value: float | None
    over: bool


@dataclass(frozen=True, slots=True)
class Reading:
    """What a rule's query gave. ``problem``: empty, "no data", or what went wrong."""

    numbers: tuple[AlertValue, ...] = ()
    problem: str = field(default="")


def evaluate_rule(database: Database, rule: Rule, at: datetime) -> Reading:
    """Ask the rule as of ``at``; what fails is in the reading."""
    span = rule.data[0].relative_time_range
    time = TimeRange(at - timedelta(seconds=span.from_), at - timedelta(seconds=span.to))
    try:
        table = run_panel_query(database, rule.sql.raw_sql, time)
        numbers = [_number(rule, table.columns, row) for row in table.rows]
    except (PanelRefused, DatabaseUnavailable, DatabaseRefused) as error:
        return Reading(problem=str(error))
    return Reading(tuple(numbers), "" if numbers else NO_DATA)


def _number(rule: Rule, columns: tuple[str, ...], row: tuple[Any, ...]) -> AlertValue:
    """Grafana takes a row of one number and any texts for a number with labels, and nothing else."""
    texts = {column: value for column, value in zip(columns, row, strict=True) if isinstance(value, str)}
    rest = [value for value in row if not isinstance(value, str)]
    if len(rest) != 1 or not isinstance(rest[0], int | float | Decimal) or isinstance(rest[0], bool):
        raise PanelRefused(f"{rule.uid}: a row is one number and texts, not {row!r}")
    value = float(rest[0])
    return AlertValue(texts, value, out_of_bounds(value, rule.threshold.conditions[0].evaluator))


def out_of_bounds(value: float, evaluator: Evaluator) -> bool:
    """As Grafana's threshold has it: the limits themselves are within bounds, and in a range they are outside it."""
    low, high = evaluator.params[0], evaluator.params[-1]
    match evaluator.type:
        case "gt":
            return value > low
        case "lt":
            return value < low
        case "within_range":
            return low < value < high
        case "outside_range":
            return value < low or value > high
