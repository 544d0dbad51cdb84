"""Charts of docs/feedback-loops.md, as SVG."""

from __future__ import annotations

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
import numpy as np

from benchmarks.loops.loop_measures import ALIKE, BEGUN, COVERAGE, DRIFT, GINI, MEASURES, NEW, QUALITY, TOP
from benchmarks.loops.loop_report import LoopReport
from benchmarks.loops.loop_variants import PLAIN
from marquee.backtest.backtest_charts import CHART_STYLE, to_svg

LABELS = {
    QUALITY: "quality by truth",
    COVERAGE: "catalog coverage of a day",
    GINI: "Gini of exposure",
    TOP: "exposure of the top 1 %",
    NEW: "exposure of new movies / parity",
    DRIFT: "taste drift",
    ALIKE: "alikeness of users",
    BEGUN: "movies begun per list",
}


def draw_charts(report: LoopReport) -> dict[str, str]:
    """Return the SVG of each chart by file name."""
    return {"curves.svg": _draw_curves(report), "groups.svg": _draw_groups(report)}


def _draw_curves(report: LoopReport) -> str:
    with plt.rc_context(CHART_STYLE):
        figure, axes = plt.subplots(4, 2, figsize=(11, 14), sharex=True)
        days = np.arange(1, report.size.days + 1)
        for axis, measure in zip(axes.flat, MEASURES, strict=True):
            for name in report.runs:
                mean, half = report.curve(name, measure)
                (line,) = axis.plot(days, mean, label=name, linewidth=2.2 if name == PLAIN else 1.1)
                axis.fill_between(days, mean - half, mean + half, color=line.get_color(), alpha=0.12, linewidth=0)
            axis.set_title(LABELS[measure], fontsize=10)
        for axis in axes[-1]:
            axis.set_xlabel("day")
        figure.legend(*axes.flat[0].get_legend_handles_labels(), loc="upper center", bbox_to_anchor=(0.5, 0), ncols=3)
        return to_svg(figure)


def _draw_groups(report: LoopReport) -> str:
    groups = list(next(iter(report.runs.values()))[0].groups)
    with plt.rc_context(CHART_STYLE):
        figure, axis = plt.subplots(figsize=(9, 4.5))
        width = 0.8 / len(report.runs)
        for number, name in enumerate(report.runs):
            found = [report.mean(name, f"{QUALITY}, {group}") for group in groups]
            halves = [0.0 if metric.high is None else metric.high - metric.value for metric in found]
            axis.bar(
                np.arange(len(groups)) + number * width,
                [metric.value for metric in found],
                width,
                yerr=halves,
                label=name,
                error_kw={"linewidth": 0.8},
            )
        axis.set_xticks(np.arange(len(groups)) + 0.4, groups)
        axis.set_ylabel("quality by truth, last ten days")
        axis.legend(fontsize=7, ncols=2)
        return to_svg(figure)
