"""Grafana's provisioning files of alerting, strictly: a field that is not known here, or of another kind, is refused.

After ``pkg/services/provisioning/alerting`` of Grafana and https://grafana.com/docs/grafana/latest/alerting/set-up/
provision-alerting-resources/file-provisioning/. Only what our rules use is known: SQL, reduce, threshold.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from marquee.config import yaml_file

Uid = Annotated[str, Meta(pattern="^[A-Za-z0-9_-]{1,40}$")]
Text = Annotated[str, Meta(min_length=1)]
Duration = Annotated[str, Meta(pattern="^([0-9]+(s|m|h|d|w))+$")]
RefId = Annotated[str, Meta(pattern="^[A-Z]$")]
Seconds = Annotated[int, Meta(ge=0)]
NoDataState = Literal["Alerting", "NoData", "OK", "KeepLast"]
ErrorState = Literal["Alerting", "Error", "OK", "KeepLast"]


class RelativeTimeRange(Struct, frozen=True, forbid_unknown_fields=True):
    """Seconds before the evaluation."""

    from_: Seconds = msgspec.field(name="from")
    to: Seconds


class DataSourceRef(Struct, frozen=True, forbid_unknown_fields=True):
    """The data source, by kind and uid."""

    type: Literal["grafana-postgresql-datasource", "__expr__"]
    uid: Literal["marquee", "__expr__"]


class SqlModel(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """One query of PostgreSQL, whose rows are numbers with labels."""

    ref_id: RefId
    datasource: DataSourceRef
    editor_mode: Literal["code"]
    format: Literal["table"]
    raw_query: Literal[True]
    raw_sql: Text
    interval_ms: Annotated[int, Meta(ge=1)]
    max_data_points: Annotated[int, Meta(ge=1)]


class ReduceModel(
    Struct, frozen=True, forbid_unknown_fields=True, rename="camel", tag="reduce", tag_field="type"
):
    """One number of a series; what is a number already stays what it is."""

    ref_id: RefId
    datasource: DataSourceRef
    expression: RefId
    reducer: Literal["last"]


class Evaluator(Struct, frozen=True, forbid_unknown_fields=True):
    """When a number is out of bounds."""

    type: Literal["gt", "lt", "within_range", "outside_range"]
    params: Annotated[tuple[float, ...], Meta(min_length=1, max_length=2)]

    def __post_init__(self) -> None:
        wanted = 2 if self.type.endswith("range") else 1
        if len(self.params) != wanted:
            raise ValueError(f"{self.type} takes {wanted} params, not {len(self.params)}")


class ThresholdCondition(Struct, frozen=True, forbid_unknown_fields=True):
    """The one condition of a threshold."""

    evaluator: Evaluator


class ThresholdModel(
    Struct, frozen=True, forbid_unknown_fields=True, rename="camel", tag="threshold", tag_field="type"
):
    """1 where the number is out of bounds, else 0."""

    ref_id: RefId
    datasource: DataSourceRef
    expression: RefId
    conditions: Annotated[tuple[ThresholdCondition, ...], Meta(min_length=1, max_length=1)]


class Query(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """One step of a rule."""

    ref_id: RefId
    relative_time_range: RelativeTimeRange
    datasource_uid: Literal["marquee", "__expr__"]
    model: dict[str, object]


Labels = dict[Annotated[str, Meta(pattern="^[a-zA-Z_][a-zA-Z0-9_]*$")], Text]


class Rule(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """One rule: SQL, reduce, threshold. ``for_``: how long the condition holds before it fires."""

    uid: Uid
    title: Annotated[str, Meta(min_length=1, max_length=190)]
    condition: RefId
    data: Annotated[tuple[Query, ...], Meta(min_length=3, max_length=3)]
    no_data_state: NoDataState
    exec_err_state: ErrorState
    for_: Duration = msgspec.field(name="for")
    annotations: dict[str, Text]
    labels: Labels
    is_paused: bool = False

    @property
    def sql(self) -> SqlModel:
        """The query."""
        return msgspec.convert(self.data[0].model, SqlModel)

    @property
    def reduce(self) -> ReduceModel:
        """What makes one number of it."""
        return msgspec.convert(self.data[1].model, ReduceModel)

    @property
    def threshold(self) -> ThresholdModel:
        """What makes an alert of the number."""
        return msgspec.convert(self.data[2].model, ThresholdModel)

    def __post_init__(self) -> None:
        steps: tuple[SqlModel | ReduceModel | ThresholdModel, ...] = (self.sql, self.reduce, self.threshold)
        ids = tuple(step.ref_id for step in steps)
        if ids != tuple(query.ref_id for query in self.data) or len(set(ids)) != 3:
            raise ValueError(f"{self.uid}: its steps are named {ids} within and otherwise without")
        if (self.reduce.expression, self.threshold.expression, self.condition) != ids:
            raise ValueError(
                f"{self.uid}: its steps do not follow each other: query, reduce, threshold, condition"
            )
        for step, query in zip(steps, self.data, strict=True):
            if step.datasource.uid != query.datasource_uid:
                raise ValueError(f"{self.uid}: {query.ref_id} names two data sources")


class Group(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Rules that are evaluated together."""

    org_id: Annotated[int, Meta(ge=1)]
    name: Text
    folder: Text
    interval: Duration
    rules: Annotated[tuple[Rule, ...], Meta(min_length=1)]


class RulesFile(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """``dashboards/alerts.yaml``."""

    api_version: Literal[1]
    groups: tuple[Group, ...]


class SlackSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Of a Slack receiver."""

    url: Text
    title: Text
    text: Text


class Receiver(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """One way to people."""

    uid: Uid
    type: Literal["slack"]
    settings: SlackSettings
    disable_resolve_message: bool


class ContactPoint(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """A name for receivers."""

    org_id: Annotated[int, Meta(ge=1)]
    name: Text
    receivers: Annotated[tuple[Receiver, ...], Meta(min_length=1)]


class Policy(Struct, frozen=True, forbid_unknown_fields=True):
    """The root of the notification policies: who is told, and how often."""

    org_id: Annotated[int, Meta(ge=1)] = msgspec.field(name="orgId")
    receiver: Text
    group_by: Annotated[tuple[Text, ...], Meta(min_length=1)]
    group_wait: Duration
    group_interval: Duration
    repeat_interval: Duration


class Template(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Texts of messages, in Go's template language."""

    org_id: Annotated[int, Meta(ge=1)]
    name: Text
    template: Text


class NotificationsFile(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """``infra/grafana/provisioning/alerting/slack.yaml``."""

    api_version: Literal[1]
    templates: tuple[Template, ...]
    contact_points: Annotated[tuple[ContactPoint, ...], Meta(min_length=1)]
    policies: Annotated[tuple[Policy, ...], Meta(min_length=1, max_length=1)]


def read_rules(path: Path) -> tuple[Group, ...]:
    """The groups of a file of rules; raises :class:`SettingsError` that names file and field."""
    return yaml_file.read_yaml(path, RulesFile).groups


def read_notifications(path: Path) -> NotificationsFile:
    """The contact point, its template and the policy; raises :class:`SettingsError`."""
    return yaml_file.read_yaml(path, NotificationsFile)
