"""Panel: one SQL query with its display options, and the Grafana panel built from it.

Every panel says what is good and has a unit and thresholds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from grafana_foundation_sdk.builders import barchart, common, dashboard, gauge, stat, table, timeseries
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models import common as cm
from grafana_foundation_sdk.models import dashboard as dm

SOURCE = cm.DataSourceRef(type_val="grafana-postgresql-datasource", uid="marquee")
# Number of points of a graph and their minimum distance. The tables have one row a minute.
POINTS, MIN_INTERVAL = 240, "1m"
Thresholds = tuple[tuple[float | None, str], ...]
GREEN, YELLOW, RED, BLUE = "green", "orange", "red", "blue"

_COMPLETE_POINTS = """time >= date_bin('$__interval_ms milliseconds', $__timeFrom()::timestamptz, 'epoch'::timestamptz)
  AND time < date_bin('$__interval_ms milliseconds', $__timeTo()::timestamptz, 'epoch'::timestamptz)"""
_ROWS_IN_RANGE = """time >= date_bin('1 {}', $__timeFrom()::timestamptz, 'epoch'::timestamptz)
  AND time <= $__timeTo()::timestamptz"""
# Conditions by the word that stands for them in a query. The current point is incomplete and would look like a drop. A
# row for an hour or a day has the time at which it starts.
_CONDITIONS = {
    "COMPLETE_POINTS": _COMPLETE_POINTS,
    "HOURS_IN_RANGE": _ROWS_IN_RANGE.format("hour"),
    "DAYS_IN_RANGE": _ROWS_IN_RANGE.format("day"),
}


class Kind(StrEnum):
    """Type of a panel."""

    STAT = "stat"
    GAUGE = "gauge"
    SERIES = "timeseries"
    BARS = "barchart"
    TABLE = "table"


def info() -> Thresholds:
    """Return thresholds for a value that is neither good nor bad."""
    return ((None, BLUE),)


def below(fair: float, bad: float) -> Thresholds:
    """Return thresholds for a value that is good below ``fair`` and bad from ``bad`` on."""
    return ((None, GREEN), (fair, YELLOW), (bad, RED))


def above(fair: float, good: float) -> Thresholds:
    """Return thresholds for a value that is good from ``good`` on and bad below ``fair``."""
    return ((None, RED), (fair, YELLOW), (good, GREEN))


def series_sql(columns: str, source: str, by: str = "") -> str:
    """Return the query of a time series: ``columns`` of ``source``.

    ``source`` is a table and the start of the condition. It must end in ``WHERE`` or ``AND``, because the condition
    ``COMPLETE_POINTS`` follows.

    With ``by``, an expression or a column, there is a series for each of its values.
    """
    label, group = (f"{by} AS metric, ", ", 2") if by else ("", "")
    # The parts come from the modules of this package only.
    return f"""
SELECT $__timeGroupAlias(time,$__interval), {label}{columns}
FROM {source} COMPLETE_POINTS GROUP BY 1{group} ORDER BY 1"""  # noqa: S608


@dataclass(frozen=True)
class Panel:
    """Panel of a dashboard.

    ``id`` is the number in links and alerts; it never changes and is never reused. ``good`` says what a healthy panel
    shows and follows "Good:". ``width`` is in columns, of which a row has 24. ``runbook`` is the stem of a page in
    docs/runbooks, and ``no_rows`` the text if the query has no rows. ``units`` are those of single columns,
    ``value_colors`` belong to values of text columns, and ``series_colors`` to series.
    """

    id: int
    title: str
    description: str
    good: str
    kind: Kind
    sql: str
    unit: str
    thresholds: Thresholds
    width: int = 12
    height: int = 8
    decimals: int | None = None
    min_value: float | None = None
    max_value: float | None = None
    stacked: bool = False
    show_thresholds: bool = False
    runbook: str = ""
    no_rows: str = "No data in this time range"
    units: Mapping[str, str] = field(default_factory=dict)
    value_colors: Mapping[str, str] = field(default_factory=dict)
    series_colors: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Tile(Panel):
    """Small panel of the first row, with one or a few numbers."""

    width: int = 6
    height: int = 6


class SqlQuery(Dataquery):
    """Query of Grafana's PostgreSQL data source, for which the SDK has no class."""

    def __init__(self, sql: str, form: str) -> None:
        self.sql = sql
        self.form = form

    def to_json(self) -> dict[str, object]:
        """Return the query as Grafana stores it."""
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


def create_builder(panel: Panel, runbooks: str) -> Any:
    """Return the builder of a Grafana panel. ``runbooks`` is the URL of docs/runbooks."""
    builder = _BUILDERS[panel.kind](panel)
    form = "time_series" if panel.kind is Kind.SERIES else "table"
    sql = panel.sql.strip()
    for word, condition in _CONDITIONS.items():
        sql = sql.replace(word, condition)
    (
        builder.id(panel.id)
        .title(panel.title)
        .description(f"{panel.description} Good: {panel.good}")
        .datasource(SOURCE)
        .with_target(_Query(sql, form))
        .unit(panel.unit)
        .thresholds(_build_thresholds(panel.thresholds))
        .no_value(panel.no_rows)
        .interval(MIN_INTERVAL)
        .max_data_points(POINTS)
    )
    for name, value in (("decimals", panel.decimals), ("min", panel.min_value), ("max", panel.max_value)):
        if value is not None:
            getattr(builder, name)(value)
    for column, unit in panel.units.items():
        builder.override_by_name(column, [dm.DynamicConfigValue(id_val="unit", value=unit)])
    for name, color in panel.series_colors.items():
        fixed = {"mode": "fixed", "fixedColor": color}
        builder.override_by_name(name, [dm.DynamicConfigValue(id_val="color", value=fixed)])
    if panel.runbook:
        link = dashboard.DashboardLink("Runbook").url(f"{runbooks}/{panel.runbook}.md").target_blank(True)
        builder.links([link.type(dm.DashboardLinkType.LINK)])
    return builder


def _build_thresholds(steps: Thresholds) -> dashboard.ThresholdsConfig:
    thresholds = [dm.Threshold(value=value, color=color) for value, color in steps]
    return dashboard.ThresholdsConfig().mode(dm.ThresholdsMode.ABSOLUTE).steps(thresholds)


def _color_scheme(mode: dm.FieldColorModeId) -> dashboard.FieldColor:
    return dashboard.FieldColor().mode(mode)


def _last_value() -> common.ReduceDataOptions:
    return common.ReduceDataOptions().calcs(["lastNotNull"]).values(False)


def _build_stat(_panel: Panel) -> stat.Panel:
    return (
        stat.Panel()
        .reduce_options(_last_value())
        .color_mode(cm.BigValueColorMode.VALUE)
        .graph_mode(cm.BigValueGraphMode.NONE)
        .color_scheme(_color_scheme(dm.FieldColorModeId.THRESHOLDS))
    )


def _build_gauge(_panel: Panel) -> gauge.Panel:
    return gauge.Panel().reduce_options(_last_value()).color_scheme(_color_scheme(dm.FieldColorModeId.THRESHOLDS))


def _build_series(panel: Panel) -> timeseries.Panel:
    built = (
        timeseries.Panel()
        .legend(
            common.VizLegendOptions()
            .display_mode(cm.LegendDisplayMode.LIST)
            .placement(cm.LegendPlacement.BOTTOM)
            .show_legend(True)
        )
        .tooltip(common.VizTooltipOptions().mode(cm.TooltipDisplayMode.MULTI).sort(cm.SortOrder.DESCENDING))
        .color_scheme(_color_scheme(dm.FieldColorModeId.PALETTE_CLASSIC_BY_NAME))
        .line_width(2)
        .fill_opacity(35 if panel.stacked else 0)
        .show_points(cm.VisibilityMode.AUTO)
    )
    if panel.stacked:
        built.stacking(common.StackingConfig().mode(cm.StackingMode.NORMAL).group("A"))
    style = cm.GraphThresholdsStyleMode.DASHED if panel.show_thresholds else cm.GraphThresholdsStyleMode.OFF
    return built.thresholds_style(common.GraphThresholdsStyleConfig().mode(style))


def _build_bars(_panel: Panel) -> barchart.Panel:
    return (
        barchart.Panel()
        .orientation(cm.VizOrientation.HORIZONTAL)
        .show_value(cm.VisibilityMode.ALWAYS)
        .color_scheme(_color_scheme(dm.FieldColorModeId.THRESHOLDS))
        .legend(
            common.VizLegendOptions()
            .show_legend(False)
            .display_mode(cm.LegendDisplayMode.HIDDEN)
            .placement(cm.LegendPlacement.BOTTOM)
        )
        .fill_opacity(80)
    )


def _build_table(panel: Panel) -> table.Panel:
    built = table.Panel().show_header(True).cell_height(cm.TableCellHeight.SM)
    if panel.value_colors:
        texts = {text: dm.ValueMappingResult(text=text, color=color) for text, color in panel.value_colors.items()}
        built.mappings([dm.ValueMap(options=texts)])
        for column in ("verdict", "outcome"):
            cell = dm.DynamicConfigValue(id_val="custom.cellOptions", value={"type": "color-text"})
            built.override_by_name(column, [cell])
    return built


_BUILDERS: Mapping[Kind, Callable[[Panel], Any]] = {
    Kind.STAT: _build_stat,
    Kind.GAUGE: _build_gauge,
    Kind.SERIES: _build_series,
    Kind.BARS: _build_bars,
    Kind.TABLE: _build_table,
}
