"""Charts of a backtest, as SVG: metrics over time, error by known ratings, and the cost of a stale model."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from datetime import datetime
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from marquee.backtest.backtest_summary import BacktestReport
from marquee.registry.manifest import Metric

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CHART_STYLE: Any = {
    "svg.hashsalt": "marquee",
    "svg.fonttype": "none",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
}
"""Style of the charts of documents. Ids have a fixed salt: equal figures give equal bytes. Text stays text."""


def can_draw() -> bool:
    """Return True if matplotlib, a development dependency, is installed."""
    return find_spec("matplotlib") is not None


def draw_charts(report: BacktestReport) -> dict[str, str]:
    """Return the SVG of each chart by file name. Equal reports give equal bytes."""
    charts: dict[str, Callable[[Any], None]] = {
        "backtest_rmse.svg": lambda axis: _over_time(axis, report, "rmse", "RMSE until the next retraining"),
        "backtest_ndcg.svg": lambda axis: _over_time(axis, report, "ndcg@10", "NDCG@10 until the next retraining"),
        "backtest_known.svg": lambda axis: _by_known(axis, report),
        "backtest_staleness.svg": lambda axis: _staleness(axis, report),
    }
    return {name: _draw(fill) for name, fill in charts.items()}


def _draw(fill: Callable[[Any], None]) -> str:
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot as plt

    with plt.rc_context(CHART_STYLE):
        figure, axis = plt.subplots(figsize=(7.5, 3.6))
        fill(axis)
        return to_svg(figure, crops=False)


def _over_time(axis: Any, report: BacktestReport, metric: str, title: str) -> None:
    times = [datetime.fromisoformat(cut.time) for cut in report.cuts]
    for number, name in enumerate(report.overall.metrics):
        values = [cut.metrics.get(name, {}).get(metric) for cut in report.cuts]
        if any(value is not None for value in values):
            axis.plot(times, values, "o-", label=name, linewidth=2.4 if number == 0 else 1.2, markersize=3)
    axis.set_title(title)
    axis.tick_params("x", rotation=30)
    axis.legend(fontsize=7)


def _by_known(axis: Any, report: BacktestReport) -> None:
    groups = list(report.by_known)
    for number, name in enumerate(report.overall.metrics):
        metrics = [report.by_known[group].metrics[name].get("rmse") for group in groups]
        if all(metric is None for metric in metrics):
            continue
        points = [(x, m) for x, m in enumerate(metrics) if m and m.low is not None and m.high is not None]
        errors = _error_bars([m for _, m in points])
        positions = [x + 0.1 * (number - 2) for x, _ in points]
        axis.errorbar(positions, [m.value for _, m in points], yerr=errors, fmt="o", label=name, markersize=4)
    axis.set_xticks(range(len(groups)), groups)
    axis.set_xlabel("ratings known of the user")
    axis.set_title("RMSE with interval")
    axis.legend(fontsize=7)


def _staleness(axis: Any, report: BacktestReport) -> None:
    found = [(delay, metrics["rmse"]) for delay, metrics in report.staleness.items() if "rmse" in metrics]
    for x, (_, cost) in enumerate(found):
        axis.errorbar(x, cost.value, yerr=_error_bars([cost]), fmt="o", color="#c44e52")
    axis.axhline(0, color="gray", linestyle="--")
    axis.set_xticks(range(len(found)), [delay for delay, _ in found])
    axis.set_xlabel("delay of each new model")
    axis.set_title("RMSE more than without the delay")


def _error_bars(metrics: Sequence[Metric]) -> list[list[float]]:
    return [[m.value - (m.low or 0) for m in metrics], [(m.high or 0) - m.value for m in metrics]]


def to_svg(figure: Figure, *, crops: bool = True) -> str:
    """Return ``figure`` as SVG without trailing spaces, and close it; ``crops``: without the empty margin."""
    from matplotlib import pyplot as plt

    out = io.StringIO()
    figure.tight_layout()
    metadata = {"Date": None, "Creator": None}
    figure.savefig(out, format="svg", bbox_inches="tight" if crops else None, metadata=metadata)
    plt.close(figure)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"
