"""Write the tables of docs/benchmarks.md and README.md from the newest committed results and reports/models.json.

``python -m benchmarks.page`` rewrites both.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
from docs.marked_sections import replace_section

from benchmarks.models.report_model import ModelReport
from benchmarks.registry import BenchmarkResult
from benchmarks.results_file import HISTORY, BenchmarkRun, newest_file, read_run
from marquee.backtest.backtest_summary import BacktestReport

ROOT = Path(__file__).parents[1]
PAGE, README = ROOT / "docs/benchmarks.md", ROOT / "README.md"
_HEADER = "| benchmark | goal | result | interval | reference | |\n|---|---|---|---|---|---|"
# The numbers of the README: the meaning of each benchmark to a reader who does not know its name.
_HIGHLIGHTS = {
    "ingest_lines_per_s": "records from Kafka to visible rows, on two cores",
    "lag_p99_s": "delay of a record until its row is visible, 99th percentile",
    "cold_start_ratio": "cold start of `recommend` / that of an empty function",
    "rss_1m_users_mb": "memory of `recommend` with a million users and 27,000 movies",
    "swap_failures": "failed requests during 100 consecutive releases",
}
_REPORT = ROOT / "reports/models.json"
_FOLDS, _HOLDOUT = "5 random folds", "temporal holdout, the newest 10 %"


def results_table(run: BenchmarkRun) -> str:
    """Return date, machine and one table row per result, as Markdown. A result of another day has its date."""
    missed = sum(not result.holds for result in run.results)
    reached = f"{len(run.results) - missed} of {len(run.results)} goals reached"
    source = f" Source: {run.source}." if run.source else ""
    commit = f", commit `{run.commit[:12]}`" if run.commit else ""
    summary = f"Measured on {run.date}: {run.machine}{commit}. {reached}.{source}"
    return "\n".join([summary, "", _HEADER, *(_row(result, run.date) for result in run.results)])


def highlights_table(run: BenchmarkRun) -> str:
    """Return date, machine and one row per result that the README shows, with its command, as Markdown."""
    results = {result.name: result for result in run.results}
    rows = [f"Measured on {run.date}: {run.machine}.", "", "| number | result | measured by |", "|---|---|---|"]
    for name, meaning in _HIGHLIGHTS.items():
        if name in results:
            value = _format_value(results[name], run.date)
            rows.append(f"| {meaning} | {value} | `make bench ONLY={name}` |")
    return "\n".join(rows)


def accuracy_table(report: ModelReport) -> str:
    """Return the date, and the accuracy of the served models beside a baseline of each, as Markdown."""
    algorithms = {(p.name, result.name): result.metrics for p in report.protocols for result in p.algorithms}

    def rmse(protocol: str, name: str) -> str:
        return f"{algorithms[protocol, name]['rmse'].value:.4f}"

    def ndcg(name: str) -> str:
        return f"{algorithms[_HOLDOUT, name]['ndcg@10'].value:.3f}"

    folds, large = rmse(_FOLDS, "BPMF"), rmse(_FOLDS, "BPMF, large")
    surprise, biases = rmse(_FOLDS, "surprise SVD"), rmse(_HOLDOUT, "bias only")
    rows = [
        f"Measured on {report.made} by `make models`, seed {report.seed}.",
        "",
        "| metric | default model | compared with |",
        "|---|---|---|",
        *_backtest_rows(report.backtest),
        f"| RMSE, five random folds | {folds} | {surprise}, scikit-surprise's SVD; {large}, the larger BPMF |",
        f"| RMSE, temporal holdout | {rmse(_HOLDOUT, 'BPMF')} | {biases}, biases only |",
        f"| NDCG@10, temporal holdout | {ndcg('EASE ranker')} | {ndcg('popularity')}, popularity |",
    ]
    return "\n".join(rows)


def _backtest_rows(backtest: BacktestReport | None) -> list[str]:
    """Return RMSE and NDCG@10 of the replay beside the best other candidate."""
    if backtest is None:
        return []
    metrics, served, rows = backtest.overall.metrics, backtest.plan.models[0].name, []
    for metric, title, digits, best in (("rmse", "RMSE", 4, min), ("ndcg@10", "NDCG@10", 3, max)):
        values = {name: found[metric].value for name, found in metrics.items() if metric in found}
        others = {name: value for name, value in values.items() if name != served}
        name = best(others, key=others.__getitem__)
        compared = (
            f"{others[name]:.{digits}f}, {name}, the best of {len(others)}"
            if len(others) > 1
            else (f"{others[name]:.{digits}f}, {name}")
        )
        rows.append(f"| {title}, backtest | {values[served]:.{digits}f} | {compared} |")
    return rows


def _row(result: BenchmarkResult, date: str) -> str:
    interval = ""
    if result.low is not None and result.high is not None:
        interval = f"{_format_number(result.low)} to {_format_number(result.high)}"
    verdict = "pass" if result.holds else "**missed**"
    goal = result.goal.replace("<=", "≤").replace(">=", "≥")
    return f"| `{result.name}` | {goal} | {_format_value(result, date)} | {interval} | {result.reference} | {verdict} |"


def _format_value(result: BenchmarkResult, date: str) -> str:
    """Return the value with its unit, and with the day of its measurement if that is not ``date``."""
    unit = "" if result.unit in ("", "ratio", "answers") else f" {result.unit}"
    measured = f" ({result.measured})" if result.measured not in ("", date) else ""
    return f"{_format_number(result.value)}{unit}{measured}"


def _format_number(value: float) -> str:
    """Return four significant digits; large numbers in full, with separators."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def pages() -> dict[Path, str]:
    """Return the pages with the tables of the newest committed results."""
    run = read_run(newest_file(ROOT / HISTORY))
    readme = replace_section(README.read_text(), "numbers", highlights_table(run))
    report = msgspec.json.decode(_REPORT.read_bytes(), type=ModelReport)
    return {
        PAGE: replace_section(PAGE.read_text(), "results", results_table(run)),
        README: replace_section(readme, "accuracy", accuracy_table(report)),
    }


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text)
