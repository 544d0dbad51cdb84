"""The plots of docs/models.md, by name."""

from __future__ import annotations

from benchmarks.models import svg
from benchmarks.models.algorithms import SERVED_RANKING, SERVED_RATING
from benchmarks.models.report_model import ModelReport
from benchmarks.models.svg import Interval, SvgPanel
from marquee.evaluation.bootstrap import Estimate

_BOLD = (SERVED_RATING, SERVED_RANKING)


def draw(results: ModelReport) -> dict[str, str]:
    """File name -> SVG."""
    return {
        "rmse.svg": _by_protocol(results, "rmse", "RMSE, less is better"),
        "ndcg.svg": _by_protocol(results, "ndcg@10", "NDCG@10, more is better"),
        "cost.svg": _cost(results),
        "intervals.svg": _covered(results),
        "cohorts.svg": _cohorts(results),
    }


def _by_protocol(results: ModelReport, metric: str, about: str) -> str:
    panels = [
        SvgPanel(
            p.name, {row.name: _interval(row.figures[metric]) for row in p.rows if metric in row.figures}
        )
        for p in results.protocols
    ]
    rows = [name for name in results.notes if any(name in panel.values for panel in panels)]
    return svg.intervals(about, rows, panels, _BOLD)


def _cost(results: ModelReport) -> str:
    protocol = results.protocols[1]
    points = {
        row.name: (max(row.cpu_s, 1e-3), row.figures["rmse"].value)
        for row in protocol.rows
        if "rmse" in row.figures
    }
    about = f"RMSE on {protocol.name} by the CPU seconds of one training"
    return svg.scatter(about, points, ("CPU seconds of one training", "RMSE"), _BOLD)


def _covered(results: ModelReport) -> str:
    groups = ("all", "known", "new")
    named = {f"cut at {cut.at:.1f}": cut.covered for cut in results.cuts}
    panels = [
        SvgPanel(
            f"{group} users", {name: _interval(c[group]) for name, c in named.items() if group in c}, 0.8
        )
        for group in groups
    ]
    return svg.intervals("Share of the ratings within their 80 % interval", list(named), panels)


def _cohorts(results: ModelReport) -> str:
    found = results.cohorts
    rows = {f"past cuts, {name}": past for name, past in found.past.items()}
    rows[f"newest slice, {found.serves}"] = found.newest
    panels = [
        SvgPanel(
            f"{metric} by cohort less popular",
            {name: (c[k].difference, c[k].low, c[k].high) for name, c in rows.items() if c},
            0.0,
        )
        for k, metric in enumerate(("NDCG@10", "NDCG@20"))
    ]
    bold = (f"past cuts, {found.serves}", f"newest slice, {found.serves}")
    return svg.intervals("Lists by cohort against the popular list, for new users", list(rows), panels, bold)


def _interval(figure: Estimate) -> Interval:
    return figure.value, figure.low, figure.high
