"""Charts of docs/models.md, as SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt

from benchmarks.models.algorithms import SERVED_RANKING, SERVED_RATING
from benchmarks.models.report_model import ModelReport
from marquee.backtest.backtest_charts import CHART_STYLE, to_svg
from marquee.registry.manifest import Metric

_BOLD = (SERVED_RATING, SERVED_RANKING)
_COLOR, _BOLD_COLOR = "#4878a8", "#c44e52"


class Point(NamedTuple):
    """A value with the ends of its interval."""

    value: float
    low: float
    high: float

    @classmethod
    def from_metric(cls, metric: Metric) -> Point:
        """Return the point of ``metric``; without an interval, both ends are the value."""
        low = metric.value if metric.low is None else metric.low
        high = metric.value if metric.high is None else metric.high
        return cls(metric.value, low, high)


class ChartPanel(NamedTuple):
    """One panel of an interval chart: points by row, and an optional vertical reference line."""

    title: str
    points: Mapping[str, Point]
    reference: float | None = None


def draw_charts(results: ModelReport) -> dict[str, str]:
    """Return the SVG of each chart by file name."""
    return {
        "rmse.svg": _protocol_chart(results, "rmse", "RMSE, lower is better"),
        "ndcg.svg": _protocol_chart(results, "ndcg@10", "NDCG@10, higher is better"),
        "cost.svg": _cost_chart(results),
        "intervals.svg": _coverage_chart(results),
        "cohorts.svg": _cohort_chart(results),
    }


def draw_intervals(title: str, rows: Sequence[str], panels: Sequence[ChartPanel], bold: Sequence[str] = ()) -> str:
    """Draw a point with its interval for each row, in panels side by side; ``bold`` rows are highlighted."""
    with plt.rc_context(CHART_STYLE):
        size = (2.2 + 2.4 * len(panels), 1.0 + 0.28 * len(rows))
        figure, axes = plt.subplots(1, len(panels), sharey=True, squeeze=False, figsize=size)
        for axis, panel in zip(axes[0], panels, strict=True):
            for position, row in enumerate(rows):
                if row in panel.points:
                    value, low, high = panel.points[row]
                    color = _BOLD_COLOR if row in bold else _COLOR
                    axis.errorbar(value, position, xerr=[[value - low], [high - value]], fmt="o", color=color)
            if panel.reference is not None:
                axis.axvline(panel.reference, color="gray", linestyle="--")
            axis.set_title(panel.title, fontsize=9)
        axes[0][0].set_yticks(range(len(rows)), rows)
        axes[0][0].set_ylim(len(rows) - 0.5, -0.5)
        for label in axes[0][0].get_yticklabels():
            label.set_fontweight("bold" if label.get_text() in bold else "normal")
        figure.suptitle(title, fontsize=10)
        return to_svg(figure)


def draw_scatter(
    title: str, points: Mapping[str, tuple[float, float]], labels: tuple[str, str], bold: Sequence[str] = ()
) -> str:
    """Draw named points with a logarithmic x axis; ``labels`` names the axes."""
    with plt.rc_context(CHART_STYLE):
        figure, axis = plt.subplots(figsize=(7, 4))
        for name, (x, y) in points.items():
            is_bold = name in bold
            axis.plot(x, y, "o", color=_BOLD_COLOR if is_bold else _COLOR)
            weight = "bold" if is_bold else "normal"
            axis.annotate(name, (x, y), (5, 5), textcoords="offset points", fontsize=8, fontweight=weight)
        axis.set_xscale("log")
        axis.set_xlabel(labels[0])
        axis.set_ylabel(labels[1])
        axis.margins(x=0.2)
        axis.set_title(title, fontsize=10)
        return to_svg(figure)


def _protocol_chart(results: ModelReport, metric: str, title: str) -> str:
    panels = [
        ChartPanel(p.name, {a.name: Point.from_metric(a.metrics[metric]) for a in p.algorithms if metric in a.metrics})
        for p in results.protocols
    ]
    rows = [name for name in results.notes if any(name in panel.points for panel in panels)]
    return draw_intervals(title, rows, panels, _BOLD)


def _cost_chart(results: ModelReport) -> str:
    protocol = results.protocols[1]
    points = {a.name: (max(a.cpu_s, 1e-3), a.metrics["rmse"].value) for a in protocol.algorithms if "rmse" in a.metrics}
    title = f"RMSE ({protocol.name}) by training time"
    return draw_scatter(title, points, ("CPU seconds of one training", "RMSE"), _BOLD)


def _coverage_chart(results: ModelReport) -> str:
    windows = {f"window from {window.start:.1f}": window.coverage for window in results.windows}
    panels = [
        ChartPanel(
            f"{group} users", {name: Point.from_metric(c[group]) for name, c in windows.items() if group in c}, 0.8
        )
        for group in ("all", "known", "new")
    ]
    return draw_intervals("Fraction of the ratings within their 80 % interval", list(windows), panels)


def _cohort_chart(results: ModelReport) -> str:
    cohorts = results.cohorts
    rows = {f"past windows, {strength}": past for strength, past in cohorts.past.items()}
    rows[f"temporal holdout, {cohorts.served_strength}"] = cohorts.holdout
    panels = [
        ChartPanel(
            metric,
            {name: Point(c[k].difference, c[k].low, c[k].high) for name, c in rows.items() if c},
            0.0,
        )
        for k, metric in enumerate(("NDCG@10", "NDCG@20"))
    ]
    bold = [f"{name}, {cohorts.served_strength}" for name in ("past windows", "temporal holdout")]
    return draw_intervals("Cohort lists less the popular list, new users", list(rows), panels, bold)
