"""Charts of docs/fairness.md, as SVG."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from benchmarks.fairness.fairness_results import FairnessAnalysis, GroupRow, MitigationRow, ProviderRow
from benchmarks.fairness.findings import LEVEL
from benchmarks.fairness.mitigations import LISTS, RATINGS
from benchmarks.fairness.user_metrics import BIAS, COVERAGE, LIFT, MISCALIBRATION, NDCG, RMSE
from benchmarks.models.charts import ChartPanel, Point, draw_intervals
from marquee.backtest.backtest_charts import CHART_STYLE, to_svg

_MARKS = {"none": "*", "calibrated re-ranking": "o", "exposure quota": "s", "group correction": "D"}


def draw_charts(results: FairnessAnalysis) -> dict[str, str]:
    """Return the SVG of each chart by file name."""
    return {
        "users.svg": _draw_groups(results.users, (RMSE, BIAS, NDCG, COVERAGE), "Difference from all other users"),
        "lists.svg": _draw_groups(results.users, (LIFT, MISCALIBRATION), "Lists against profiles, known users"),
        "intersections.svg": _draw_groups(results.intersections, (RMSE, NDCG), "Intersections"),
        "providers.svg": _draw_providers(results.providers),
        "lorenz.svg": _draw_lorenz(results),
        "reliability.svg": _draw_reliability(results),
        "pareto.svg": _draw_pareto(results.mitigations),
    }


def _draw_groups(rows: Sequence[GroupRow], metrics: Sequence[str], title: str) -> str:
    """Draw the difference of each tested group; significant groups are bold."""
    tested = [row for row in rows if any(metric in row.differences for metric in metrics)]
    panels = [
        ChartPanel(
            metric, {_name(r): Point.from_metric(r.differences[metric]) for r in tested if metric in r.differences}, 0.0
        )
        for metric in metrics
    ]
    bold = [_name(r) for r in tested if any(r.p_values.get(metric, 1.0) < LEVEL for metric in metrics)]
    return draw_intervals(title, [_name(row) for row in tested], panels, bold)


def _draw_providers(rows: Sequence[ProviderRow]) -> str:
    panels = [
        ChartPanel(
            title,
            {
                f"{r.kind}: {r.group}": Point.from_metric(ratio)
                for r in rows
                if (ratio := getattr(r, field)) is not None and ratio.value < 6
            },
            1.0,
        )
        for title, field in (("exposure / merit", "by_merit"), ("exposure / consumption", "by_consumption"))
    ]
    bold = [f"{r.kind}: {r.group}" for r in rows if min(r.p_merit, r.p_consumption) < LEVEL]
    return draw_intervals("Exposure of groups of movies", [f"{r.kind}: {r.group}" for r in rows], panels, bold)


def _draw_lorenz(results: FairnessAnalysis) -> str:
    with plt.rc_context(CHART_STYLE):
        figure, axis = plt.subplots(figsize=(5, 4))
        for name, curve in results.lorenz.items():
            axis.plot([n / (len(curve) - 1) for n in range(len(curve))], curve, label=name)
        axis.plot([0, 1], [0, 1], color="gray", linestyle="--", label="equal")
        axis.set_xlabel("fraction of the movies, the least first")
        axis.set_ylabel("their share")
        axis.legend()
        axis.set_title("Concentration of exposure, merit and consumption", fontsize=10)
        return to_svg(figure)


def _draw_reliability(results: FairnessAnalysis) -> str:
    with plt.rc_context(CHART_STYLE):
        figure, axis = plt.subplots(figsize=(5, 4))
        for curve in results.reliability:
            axis.plot(curve.predicted, curve.given, "o-", label=curve.group)
        ends = [min(min(c.predicted) for c in results.reliability), max(max(c.predicted) for c in results.reliability)]
        axis.plot(ends, ends, color="gray", linestyle="--", label="calibrated")
        axis.set_xlabel("mean predicted rating, fifths of the predictions")
        axis.set_ylabel("mean given rating")
        axis.legend()
        axis.set_title("Calibration of predicted ratings", fontsize=10)
        return to_svg(figure)


def _draw_pareto(rows: Sequence[MitigationRow]) -> str:
    with plt.rc_context(CHART_STYLE):
        figure, axes = plt.subplots(1, 2, figsize=(11, 4.5))
        _draw_front(axes[0], [r for r in rows if r.plot == LISTS], ("Gini of exposure", "NDCG@10"))
        _draw_front(axes[1], [r for r in rows if r.plot == RATINGS], ("largest gap of RMSE", "RMSE"))
        figure.suptitle("Mitigations: what fairness costs", fontsize=10)
        return to_svg(figure)


def _draw_front(axis: Axes, rows: Sequence[MitigationRow], labels: tuple[str, str]) -> None:
    for family, mark in _MARKS.items():
        chosen = [row for row in rows if row.family == family]
        if chosen:
            axis.plot([r.unfairness.value for r in chosen], [r.quality.value for r in chosen], mark, label=family)
    front = sorted((r.unfairness.value, r.quality.value) for r in rows if r.efficient)
    axis.plot([x for x, _ in front], [y for _, y in front], color="gray", linewidth=1, label="Pareto front")
    for row in rows:
        axis.annotate(
            row.name, (row.unfairness.value, row.quality.value), (4, 4), textcoords="offset points", fontsize=6
        )
    axis.set_xlabel(labels[0])
    axis.set_ylabel(labels[1])
    axis.legend(fontsize=7)


def _name(row: GroupRow) -> str:
    return f"{row.kind}: {row.group}"
