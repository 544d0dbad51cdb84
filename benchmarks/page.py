"""Write the tables of docs/benchmarks.md and README.md from the newest committed results.

``python -m benchmarks.page`` rewrites both.
"""

from __future__ import annotations

from pathlib import Path

from docs.marked_sections import replace_section

from benchmarks.registry import BenchmarkResult
from benchmarks.results_file import HISTORY, BenchmarkRun, newest_file, read_run

ROOT = Path(__file__).parents[1]
PAGE, README = ROOT / "docs/benchmarks.md", ROOT / "README.md"
_HEADER = "| benchmark | goal | result | interval | reference | |\n|---|---|---|---|---|---|"
# The numbers of the README: the meaning of each benchmark to a reader who does not know its name.
_HIGHLIGHTS = {
    "ingest_lines_per_s": "records from Kafka to visible rows, on two cores",
    "lag_p99_s": "delay of a record until its row is visible, 99th percentile",
    "rmse_5fold_served": "RMSE on MovieLens 100K, the large model",
    "cold_start_ratio": "cold start of `recommend` / that of an empty function",
    "rss_1m_users_mb": "memory of `recommend` with a million users and 27,000 movies",
    "swap_failures": "failed answers while a hundred releases replaced each other",
}


def results_table(run: BenchmarkRun) -> str:
    """Return date, machine and one table row per result, as Markdown."""
    missed = sum(not result.holds for result in run.results)
    reached = f"{len(run.results) - missed} of {len(run.results)} goals reached"
    source = f" Source: {run.source}." if run.source else ""
    commit = f", commit `{run.commit[:12]}`" if run.commit else ""
    summary = f"{run.date}, {run.machine}{commit}: {reached}.{source}"
    return "\n".join([summary, "", _HEADER, *(_row(result) for result in run.results)])


def highlights_table(run: BenchmarkRun) -> str:
    """Return the results that the README shows, each with the command that measures it, as Markdown."""
    results = {result.name: result for result in run.results}
    rows = ["| number | result | measured by |", "|---|---|---|"]
    for name, meaning in _HIGHLIGHTS.items():
        if name in results:
            rows.append(f"| {meaning} | {_format_value(results[name])} | `make bench ONLY={name}` |")
    return "\n".join(rows)


def _row(result: BenchmarkResult) -> str:
    measured = f" ({result.measured})" if result.measured else ""
    interval = ""
    if result.low is not None and result.high is not None:
        interval = f"{_format_number(result.low)} to {_format_number(result.high)}"
    verdict = "pass" if result.holds else "**missed**"
    goal = result.goal.replace("<=", "≤").replace(">=", "≥")
    value = f"{_format_value(result)}{measured}"
    return f"| `{result.name}` | {goal} | {value} | {interval} | {result.reference} | {verdict} |"


def _format_value(result: BenchmarkResult) -> str:
    unit = "" if result.unit == "ratio" else f" {result.unit}"
    return f"{_format_number(result.value)}{unit}"


def _format_number(value: float) -> str:
    """Return four significant digits; large numbers in full, with separators."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def pages() -> dict[Path, str]:
    """Return the pages with the tables of the newest committed results."""
    run = read_run(newest_file(ROOT / HISTORY))
    return {
        PAGE: replace_section(PAGE.read_text(), "results", results_table(run)),
        README: replace_section(README.read_text(), "numbers", highlights_table(run)),
    }


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text)
