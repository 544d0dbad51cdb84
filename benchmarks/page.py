"""Write the table of docs/benchmarks.md from the newest committed results: ``python -m benchmarks.page``."""

from __future__ import annotations

from pathlib import Path

from docs.marked_sections import replace_section

from benchmarks.registry import BenchmarkResult
from benchmarks.results_file import HISTORY, BenchmarkRun, newest_file, read_run

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/benchmarks.md"
_HEADER = "| benchmark | goal | result | interval | reference | |\n|---|---|---|---|---|---|"


def results_table(run: BenchmarkRun) -> str:
    """Return date, machine and one table row per result, as Markdown."""
    missed = sum(not result.holds for result in run.results)
    reached = f"{len(run.results) - missed} of {len(run.results)} goals reached"
    source = f" Source: {run.source}." if run.source else ""
    commit = f", commit `{run.commit[:12]}`" if run.commit else ""
    summary = f"{run.date}, {run.machine}{commit}: {reached}.{source}"
    return "\n".join([summary, "", _HEADER, *(_row(result) for result in run.results)])


def _row(result: BenchmarkResult) -> str:
    value = f"{_format_number(result.value)} {_unit(result)}".strip()
    measured = f" ({result.measured})" if result.measured else ""
    interval = ""
    if result.low is not None and result.high is not None:
        interval = f"{_format_number(result.low)} to {_format_number(result.high)}"
    verdict = "pass" if result.holds else "**missed**"
    goal = result.goal.replace("<=", "≤").replace(">=", "≥")
    return f"| `{result.name}` | {goal} | {value}{measured} | {interval} | {result.reference} | {verdict} |"


def _unit(result: BenchmarkResult) -> str:
    return "" if result.unit == "ratio" else result.unit


def _format_number(value: float) -> str:
    """Return four significant digits; large numbers in full, with separators."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def benchmarks_page() -> str:
    """Return docs/benchmarks.md with its table from the newest committed results."""
    return replace_section(PAGE.read_text(), "results", results_table(read_run(newest_file(ROOT / HISTORY))))


if __name__ == "__main__":
    PAGE.write_text(benchmarks_page())
