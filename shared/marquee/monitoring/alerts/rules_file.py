"""Alert rules as Grafana provisions them, limited to the form of ``dashboards/alerts.yaml``: query, reduce, threshold.

https://grafana.com/docs/grafana/latest/alerting/set-up/provision-alerting-resources/file-provisioning/
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Generic, Literal, TypeVar

from msgspec import Meta, Struct, field

from marquee.config.yaml_file import read_yaml
from marquee.grafana.durations import parse_duration

Text = Annotated[str, Meta(min_length=1)]
Duration = Annotated[str, Meta(pattern="^[1-9][0-9]*(s|m|h|d|w)$")]
Model = TypeVar("Model")


class SqlModel(Struct, frozen=True, rename="camel"):
    """SQL query. Each row has one number, and text columns that become labels."""

    ref_id: Literal["A"]
    format: Literal["table"]
    raw_sql: Text


class GreaterThan(Struct, frozen=True, forbid_unknown_fields=True, tag="gt", tag_field="type"):
    """Comparison with one threshold. A value equal to the threshold is still good."""

    params: tuple[float]


class ThresholdModel(Struct, frozen=True, tag="threshold", tag_field="type"):
    """Comparison of the reduced value with a threshold."""

    expression: Literal["B"]
    conditions: tuple[dict[Literal["evaluator"], GreaterThan]]


class Step(Struct, Generic[Model], frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Step of a rule. Its time range is in seconds before the evaluation."""

    ref_id: Literal["A", "B", "C"]
    relative_time_range: dict[Literal["from", "to"], Annotated[int, Meta(ge=0)]]
    datasource_uid: Literal["marquee", "__expr__"]
    model: Model


class Annotations(Struct, frozen=True, forbid_unknown_fields=True):
    """Texts and links of an alert. ``unit`` is the unit of its value."""

    summary: Text
    unit: Text
    runbook_url: Text
    dashboard_uid: Text = field(name="__dashboardUid__")
    panel_id: Annotated[str, Meta(pattern="^[0-9]+$")] = field(name="__panelId__")


class Rule(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Alert rule. ``for_`` is the time for which the condition has to hold before the rule fires."""

    uid: Annotated[str, Meta(pattern="^[A-Za-z0-9_-]{1,40}$")]
    title: Annotated[str, Meta(min_length=1, max_length=190)]
    condition: Literal["C"]
    data: tuple[Step[SqlModel], Step[dict[str, object]], Step[ThresholdModel]]
    no_data_state: Literal["Alerting", "OK"]
    exec_err_state: Literal["Alerting", "KeepLast"]
    for_: Duration = field(name="for")
    annotations: Annotations
    labels: dict[Literal["app", "severity"], Text]

    @property
    def threshold(self) -> float:
        """Return the largest value that is still good."""
        return self.data[2].model.conditions[0]["evaluator"].params[0]

    @property
    def pending_period(self) -> timedelta:
        """Return ``for`` as a duration."""
        return parse_duration(self.for_)


class RuleGroup(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Rules with a common evaluation interval."""

    org_id: Annotated[int, Meta(ge=1)]
    name: Text
    folder: Text
    interval: Duration
    rules: Annotated[tuple[Rule, ...], Meta(min_length=1)]


class RulesFile(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Content of ``dashboards/alerts.yaml``."""

    api_version: Literal[1]
    groups: tuple[RuleGroup, ...]


def read_rules(path: Path) -> tuple[RuleGroup, ...]:
    """Return the groups of a rules file. Raises :class:`SettingsError` if a field is wrong."""
    return read_yaml(path, RulesFile).groups
