"""A panel in a few words, and the Grafana panel that comes of it.

Every panel asks the database in SQL, says what is good, and has a unit and thresholds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from grafana_foundation_sdk.builders import barchart, common, dashboard, gauge, stat, table, timeseries
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models import common as cm
from grafana_foundation_sdk.models import dashboard as dm

SOURCE = cm.DataSourceRef(type_val="grafana-postgresql-datasource", uid="marquee")
# Points of a graph: as many as the local page draws, and never closer than the tables count.
POINTS, LEAST = 240, "1m"
GREEN, YELLOW, RED, BLUE = "green", "orange", "red", "blue"

# What WHOLE_POINTS stands for in a query: the point that is still under way would look like a fall.
_WHOLE_POINTS = """time >= date_bin('$__interval_ms milliseconds', $__timeFrom()::timestamptz, 'epoch'::timestamptz)
  AND time < date_bin('$__interval_ms milliseconds', $__timeTo()::timestamptz, 'epoch'::timestamptz)"""

# And HOURS_OF_IT: rows that stand for an hour have the time at which it begins.
_HOURS_OF_IT = "time >= date_trunc('hour', $__timeFrom()::timestamptz) AND time <= $__timeTo()::timestamptz"


class Kind(StrEnum):
    """How a panel is drawn."""

    STAT = "stat"
    GAUGE = "gauge"
    SERIES = "timeseries"
    BARS = "barchart"
    TABLE = "table"


def info() -> tuple[tuple[float | None, str], ...]:
    """For what is neither good nor bad."""
    return ((None, BLUE),)


def below(fair: float, bad: float) -> tuple[tuple[float | None, str], ...]:
    """Good below ``fair``, bad from ``bad`` on."""
    return ((None, GREEN), (fair, YELLOW), (bad, RED))


def above(fair: float, good: float) -> tuple[tuple[float | None, str], ...]:
    """Good from ``good`` on, bad below ``fair``."""
    return ((None, RED), (fair, YELLOW), (good, GREEN))


@dataclass(frozen=True)
class Panel:
    """One panel. ``id`` is for good: links and alerts name it.

    ``good`` says in a sentence what a healthy panel shows. ``units``: of single columns, where they differ.
    ``runbook``: the page of docs/runbooks for when it is not good. ``line``: the thresholds are drawn.
    ``colours``: of the values of text columns; ``series``: of single lines. ``nothing``: what no rows mean.
    """

    id: int
    title: str
    about: str
    good: str
    kind: Kind
    sql: str
    unit: str
    steps: tuple[tuple[float | None, str], ...]
    width: int = 12
    height: int = 8
    decimals: int | None = None
    least: float | None = None
    most: float | None = None
    stacked: bool = False
    line: bool = False
    runbook: str = ""
    nothing: str = "Nothing in this time"
    units: Mapping[str, str] = field(default_factory=dict)
    colours: Mapping[str, str] = field(default_factory=dict)
    series: Mapping[str, str] = field(default_factory=dict)


class SqlQuery(Dataquery):
    """One query of Grafana's PostgreSQL data source, for which the SDK has no class."""

    def __init__(self, sql: str, form: str) -> None:
        self.sql = sql
        self.form = form

    def to_json(self) -> dict[str, object]:
        """As Grafana keeps it."""
        return {
            "refId": "A",
            "datasource": SOURCE,
            "editorMode": "code",
            "format": self.form,
            "rawQuery": True,
            "rawSql": self.sql,
        }


class _Query(Builder[Dataquery]):
    def __init__(self, sql: str, form: str) -> None:
        self._query = SqlQuery(sql, form)

    def build(self) -> Dataquery:
        return self._query


def build(panel: Panel, runbooks: str) -> Any:
    """The builder of Grafana's panel; ``runbooks``: where docs/runbooks is shown."""
    built = _BUILDERS[panel.kind](panel)
    form = "time_series" if panel.kind is Kind.SERIES else "table"
    sql = panel.sql.strip().replace("WHOLE_POINTS", _WHOLE_POINTS).replace("HOURS_OF_IT", _HOURS_OF_IT)
    (
        built.id(panel.id)
        .title(panel.title)
        .description(f"{panel.about} Good: {panel.good}")
        .datasource(SOURCE)
        .with_target(_Query(sql, form))
        .unit(panel.unit)
        .thresholds(_thresholds(panel.steps))
        .no_value(panel.nothing)
        .interval(LEAST)
        .max_data_points(POINTS)
    )
    for name, value in (("decimals", panel.decimals), ("min", panel.least), ("max", panel.most)):
        if value is not None:
            getattr(built, name)(value)
    for column, unit in panel.units.items():
        built.override_by_name(column, [dm.DynamicConfigValue(id_val="unit", value=unit)])
    for name, color in panel.series.items():
        fixed = {"mode": "fixed", "fixedColor": color}
        built.override_by_name(name, [dm.DynamicConfigValue(id_val="color", value=fixed)])
    if panel.runbook:
        link = dashboard.DashboardLink("Runbook").url(f"{runbooks}/{panel.runbook}.md").target_blank(True)
        built.links([link.type(dm.DashboardLinkType.LINK)])
    return built


def _thresholds(steps: Sequence[tuple[float | None, str]]) -> dashboard.ThresholdsConfig:
    found = [dm.Threshold(value=value, color=color) for value, color in steps]
    return dashboard.ThresholdsConfig().mode(dm.ThresholdsMode.ABSOLUTE).steps(found)


def _color(mode: dm.FieldColorModeId) -> dashboard.FieldColor:
    return dashboard.FieldColor().mode(mode)


def _reduced() -> common.ReduceDataOptions:
    return common.ReduceDataOptions().calcs(["lastNotNull"]).values(False)


def _stat(panel: Panel) -> stat.Panel:
    return (
        stat.Panel()
        .reduce_options(_reduced())
        .color_mode(cm.BigValueColorMode.VALUE)
        .graph_mode(cm.BigValueGraphMode.NONE)
        .color_scheme(_color(dm.FieldColorModeId.THRESHOLDS))
    )


def _gauge(panel: Panel) -> gauge.Panel:
    return gauge.Panel().reduce_options(_reduced()).color_scheme(_color(dm.FieldColorModeId.THRESHOLDS))


def _series(panel: Panel) -> timeseries.Panel:
    built = (
        timeseries.Panel()
        .legend(
            common.VizLegendOptions()
            .display_mode(cm.LegendDisplayMode.LIST)
            .placement(cm.LegendPlacement.BOTTOM)
            .show_legend(True)
        )
        .tooltip(common.VizTooltipOptions().mode(cm.TooltipDisplayMode.MULTI).sort(cm.SortOrder.DESCENDING))
        .color_scheme(_color(dm.FieldColorModeId.PALETTE_CLASSIC_BY_NAME))
        .line_width(2)
        .fill_opacity(35 if panel.stacked else 0)
        .show_points(cm.VisibilityMode.AUTO)
    )
    if panel.stacked:
        built.stacking(common.StackingConfig().mode(cm.StackingMode.NORMAL).group("A"))
    style = cm.GraphThresholdsStyleMode.DASHED if panel.line else cm.GraphThresholdsStyleMode.OFF
    return built.thresholds_style(common.GraphThresholdsStyleConfig().mode(style))


def _bars(panel: Panel) -> barchart.Panel:
    return (
        barchart.Panel()
        .orientation(cm.VizOrientation.HORIZONTAL)
        .show_value(cm.VisibilityMode.ALWAYS)
        .color_scheme(_color(dm.FieldColorModeId.THRESHOLDS))
        .legend(
            common.VizLegendOptions()
            .show_legend(False)
            .display_mode(cm.LegendDisplayMode.HIDDEN)
            .placement(cm.LegendPlacement.BOTTOM)
        )
        .fill_opacity(80)
    )


def _table(panel: Panel) -> table.Panel:
    built = table.Panel().show_header(True).cell_height(cm.TableCellHeight.SM)
    if panel.colours:
        texts = {text: dm.ValueMappingResult(text=text, color=color) for text, color in panel.colours.items()}
        built.mappings([dm.ValueMap(options=texts)])
        for column in ("verdict", "outcome"):
            cell = dm.DynamicConfigValue(id_val="custom.cellOptions", value={"type": "color-text"})
            built.override_by_name(column, [cell])
    return built


_BUILDERS = {
    Kind.STAT: _stat,
    Kind.GAUGE: _gauge,
    Kind.SERIES: _series,
    Kind.BARS: _bars,
    Kind.TABLE: _table,
}
