"""docs/models.md and its charts, generated from reports/models.json alone: equal results give equal bytes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from benchmarks import report_files
from benchmarks.models import charts
from benchmarks.models.algorithms import (
    BIAS_ONLY,
    EASE,
    POPULARITY,
    REFERENCE,
    SERVED_RANKING,
    SERVED_RATING,
)
from benchmarks.models.report_model import AlgorithmResult, ModelReport, ProtocolResult, WindowResult
from marquee.backtest import backtest_charts
from marquee.backtest.backtest_summary import BacktestReport
from marquee.backtest.backtest_tables import format_metric, format_number, markdown_table, render_tables
from marquee.evaluation.paired_test import PairedComparison

RESULTS, PAGE, CHARTS = Path("reports/models.json"), Path("docs/models.md"), Path("docs/models")

_TEMPLATE = Path(__file__).with_name("models.md.template")
_RATING_METRICS = {"rmse": "RMSE", "mae": "MAE"}
_RANKING_METRICS = {
    "ndcg@10": "NDCG@10",
    "ndcg@20": "NDCG@20",
    "recall@10": "recall@10",
    "recall@20": "recall@20",
    "coverage": "coverage",
    "novelty": "novelty, bits",
}
_BACKTEST_CHARTS = {
    "backtest_rmse.svg": "RMSE between retrainings",
    "backtest_ndcg.svg": "NDCG@10 between retrainings",
    "backtest_known.svg": "RMSE by the number of ratings known of the user",
    "backtest_staleness.svg": "Cost of a stale model",
}
_DIGITS = {"rmse": 4, "mae": 4, "novelty": 2}


def write_results(root: Path, results: ModelReport) -> None:
    """Write the results below ``root``, where :func:`write_page` reads them."""
    report_files.write_results(root / RESULTS, results)


def read_results(root: Path) -> ModelReport:
    """Read the results below ``root``."""
    return msgspec.json.decode((root / RESULTS).read_bytes(), type=ModelReport)


def write_page(root: Path) -> list[Path]:
    """Write the page and the charts from the results below ``root``; return their paths."""
    return report_files.write_files(root, render_files(read_results(root)))


def render_files(results: ModelReport) -> dict[Path, str]:
    """Return the content of the page and of each chart, by path."""
    svgs = charts.draw_charts(results)
    if results.backtest is not None:
        svgs |= backtest_charts.draw_charts(results.backtest)
    return {PAGE: render_page(results)} | {CHARTS / name: svg for name, svg in svgs.items()}


def render_page(results: ModelReport) -> str:
    """Return the page as Markdown."""
    return _TEMPLATE.read_text().format(
        **results.describe(),
        **_backtest_parts(results.backtest),
        attributes=", ".join(results.user_attributes) or "none",
        rating=SERVED_RATING,
        ranking=SERVED_RANKING,
        rating_summary=_summary(results, "rmse", (SERVED_RATING, REFERENCE, BIAS_ONLY)),
        ranking_summary=_summary(results, "ndcg@10", (SERVED_RANKING, POPULARITY, EASE)),
        summary=_summary_table(results),
        algorithms=markdown_table(["algorithm", "description"], results.notes.items()),
        protocols="".join(_protocol(protocol) for protocol in results.protocols),
        costs=_cost_table(results.protocols[0].algorithms),
        windows=_window_table(results),
        lists=_list_table(results),
        intervals=_coverage_table(results),
        prior_strength=results.cohorts.served_strength,
        cohorts=_cohort_table(results),
    )


def _backtest_parts(found: BacktestReport | None) -> dict[str, str]:
    """Return what the page says of the backtest: why these models serve, the main numbers, and its tables."""
    if found is None:
        return {
            "backtest_reason": "they are the best of the comparison below",
            "backtest_numbers": "",
            "backtest": "The backtest was not run.\n",
        }
    metrics, main = found.overall.metrics, found.plan.models[0].name
    errors, gains = ({name: m[kind].value for name, m in metrics.items() if kind in m} for kind in ("rmse", "ndcg@10"))
    best = errors[main] == min(errors.values()) and gains[main] == max(gains.values())
    verdict = (
        "they have the lowest error and the best lists" if best else "they were chosen before; they are not the best"
    )
    numbers = (
        f"\n- RMSE of predicted ratings, lower is better: {_against(errors, main, 4)}."
        f"\n- NDCG@10 of the lists, higher is better: {_against(gains, main, 3)}."
    )
    images = "\n".join(f"![{title}](models/{file})\n" for file, title in _BACKTEST_CHARTS.items())
    return {
        "backtest_reason": f"{verdict} in a replay through the serving code",
        "backtest_numbers": numbers,
        "backtest": f"{render_tables(found)}\n{images}",
    }


def _against(values: Mapping[str, float], main: str, digits: int) -> str:
    others = (f"{format_number(value, digits)} ({name})" for name, value in values.items() if name != main)
    return f"**{format_number(values[main], digits)}**, compared with {', '.join(others)}"


def _summary(results: ModelReport, metric: str, names: Sequence[str]) -> str:
    """Return the metric of three algorithms on the temporal holdout: the first against the others."""
    by_name = {a.name: a.metrics[metric] for a in results.protocols[-1].algorithms if metric in a.metrics}
    digits = _DIGITS.get(metric, 3)
    first, *others = (f"{format_number(by_name[name].value, digits)} ({name})" for name in names if name in by_name)
    return f"{first}; {', '.join(others)}"


def _summary_table(results: ModelReport) -> str:
    _, last_20, holdout = results.protocols
    by_name = {a.name: a for a in last_20.algorithms}
    head = ["algorithm", "RMSE", "RMSE, last 20 %", "NDCG@10", "training, CPU s"]
    rows = (
        [
            f"**{a.name}**" if a.name in (SERVED_RATING, SERVED_RANKING) else a.name,
            format_metric(a.metrics.get("rmse"), 4),
            format_metric(by_name[a.name].metrics.get("rmse"), 4),
            format_metric(a.metrics.get("ndcg@10"), 3),
            f"{a.cpu_s:.2f}",
        ]
        for a in holdout.algorithms
    )
    return markdown_table(head, rows)


def _protocol(protocol: ProtocolResult) -> str:
    title = protocol.name[0].upper() + protocol.name[1:]
    size = f"{protocol.ratings:,} ratings of {protocol.users} users."
    tables = (_metric_table(protocol.algorithms, names) for names in (_RATING_METRICS, _RANKING_METRICS))
    return "\n\n".join((f"### {title}", size, *tables, ""))


def _metric_table(algorithms: Sequence[AlgorithmResult], names: dict[str, str]) -> str:
    measured = (a for a in algorithms if names.keys() <= a.metrics.keys())
    cells = ([a.name, *(format_metric(a.metrics[m], _DIGITS.get(m, 3)) for m in names)] for a in measured)
    return markdown_table(["algorithm", *names.values()], cells)


def _cost_table(algorithms: Sequence[AlgorithmResult]) -> str:
    head = ["algorithm", "training, CPU s", "answer, µs", "memory, kB", "storage, kB"]
    cells = (
        [
            a.name,
            f"{a.cpu_s:.2f}",
            f"{a.answer_us:.0f}",
            f"{a.memory_bytes / 1e3:,.0f}",
            f"{a.storage_bytes / 1e3:,.0f}",
        ]
        for a in algorithms
    )
    return markdown_table(head, cells)


def _window_table(results: ModelReport) -> str:
    groups = ("known", "new")
    models = results.windows[0].rmse
    head = ["window from", "users", "new", *(f"{name}, {group}" for name in models for group in groups)]
    rows = (
        [name, str(window.users), str(window.new_users)]
        + [format_metric(by_group.get(group), 3) for by_group in window.rmse.values() for group in groups]
        for name, window in _named_windows(results)
    )
    return markdown_table(head, rows)


def _list_table(results: ModelReport) -> str:
    rows = (
        [name, *(format_metric(metric, 3) for metric in window.ndcg.values())]
        for name, window in _named_windows(results)
    )
    return markdown_table(["window from", *results.windows[0].ndcg], rows)


def _coverage_table(results: ModelReport) -> str:
    rows = (
        [name, *(format_metric(window.coverage.get(group), 3) for group in ("all", "known", "new"))]
        for name, window in _named_windows(results)
    )
    return markdown_table(["window from", "all users", "known users", "new users"], rows)


def _named_windows(results: ModelReport) -> Iterable[tuple[str, WindowResult]]:
    *past, holdout = results.windows
    named = [(f"{window.start:.1f}", window) for window in past]
    return [*named, ("all four", results.pooled), (f"{holdout.start:.1f}, temporal holdout", holdout)]


def _cohort_table(results: ModelReport) -> str:
    cohorts = results.cohorts
    lists = {f"{strength}, past windows": past for strength, past in cohorts.past.items()}
    lists[f"{cohorts.served_strength}, temporal holdout"] = cohorts.holdout
    columns = (f"NDCG@{n}{suffix}" for n in (10, 20) for suffix in ("", ", popular", ", difference"))
    rows = (
        [name, str(compared[0].users), *(cell for c in compared for cell in _comparison_cells(c))]
        for name, compared in lists.items()
        if compared
    )
    return markdown_table(["prior strength", "users", *columns], rows)


def _comparison_cells(result: PairedComparison) -> list[str]:
    difference = f"{result.difference:+.3f} [{result.low:+.3f}, {result.high:+.3f}]"
    return [format_number(result.candidate_value, 3), format_number(result.baseline_value, 3), difference]
