"""Run all benchmarks, or those named; print a table and write the results.

``build/bench.json`` holds the results of the newest run of each benchmark. A run without ``--only`` also writes
``benchmarks/results/<date>.json``, from which ``make docs`` writes the table of docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import platform
import subprocess
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import psutil
from rich.console import Console
from rich.table import Table

import benchmarks
from benchmarks.registry import BENCHMARKS, Benchmark, BenchmarkResult, is_full_run
from benchmarks.results_file import (
    HISTORY,
    LATEST,
    BenchmarkRun,
    add_earlier,
    newest_file,
    read_run,
    write_run,
)


def main() -> int:
    """Run the benchmarks; return 1 if a goal was missed."""
    for module in pkgutil.iter_modules(benchmarks.__path__):
        if module.name.startswith("bench_"):
            importlib.import_module(f"benchmarks.{module.name}")
    names = [name for known in BENCHMARKS for name in known.names]
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", choices=names, metavar="NAME", help="; ".join(names))
    only = parser.parse_args().only
    console = Console()
    results = [result for known in _selected(only) for result in _run(known, console)]
    run = _describe_run(results)
    write_run(LATEST, _add_earlier(run, LATEST, names))
    if not only:
        write_run(HISTORY / f"{run.date}.json", _add_earlier(run, newest_file(), names))
    console.print(_table(results))
    return 0 if all(result.holds for result in results) else 1


def _selected(only: Sequence[str] | None) -> list[Benchmark]:
    if only:
        return [known for known in BENCHMARKS if set(only) & set(known.names)]
    return [known for known in BENCHMARKS if is_full_run() or not known.full]


def _run(known: Benchmark, console: Console) -> list[BenchmarkResult]:
    names = ", ".join(known.names)
    started = time.monotonic()
    with console.status(f"measuring {names} ..."):
        results = list(known.measure())
    assert {result.name for result in results} == set(known.names), f"{names} gave {results}"
    console.print(f"{names}: {time.monotonic() - started:.0f} s")
    return results


def _describe_run(results: list[BenchmarkResult]) -> BenchmarkRun:
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    return BenchmarkRun(
        date=datetime.now(UTC).date().isoformat(),
        machine=f"{psutil.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
        commit=commit,
        results=results,
    )


def _add_earlier(run: BenchmarkRun, path: Path, names: Sequence[str]) -> BenchmarkRun:
    """Add the results in ``path`` of benchmarks that did not run, in the order of ``names``."""
    if not path.exists():
        return run
    merged = {result.name: result for result in add_earlier(run.results, read_run(path), names)}
    return msgspec.structs.replace(run, results=[merged[name] for name in names if name in merged])


def _table(results: list[BenchmarkResult]) -> Table:
    table = Table("name", "value", "unit", "ratio", "reference", "goal", "holds")
    for result in results:
        ratio = "" if result.ratio is None else f"{result.ratio:.3g}"
        holds = "yes" if result.holds else "NO"
        table.add_row(result.name, f"{result.value:.5g}", result.unit, ratio, result.reference, result.goal, holds)
    return table


if __name__ == "__main__":
    raise SystemExit(main())
