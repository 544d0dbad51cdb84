"""Run the benchmarks: all, or those named; print a table and write ``build/bench.json``."""

from __future__ import annotations

import argparse
import importlib
import pkgutil
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

import benchmarks
from benchmarks.registry import BENCHMARKS, Benchmark, BenchmarkResult

OUT = Path("build/bench.json")


def main() -> int:
    """Returns 1 if a goal was missed."""
    for module in pkgutil.iter_modules(benchmarks.__path__):
        if module.name.startswith("bench_"):
            importlib.import_module(f"benchmarks.{module.name}")
    names = [name for known in BENCHMARKS for name in known.names]
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", action="append", choices=names, metavar="NAME", help="; ".join(names))
    only = parser.parse_args().only
    console = Console()
    results = [
        r for known in BENCHMARKS if not only or set(only) & set(known.names) for r in _run(known, console)
    ]
    _write(results)
    console.print(_table(results))
    return 0 if all(result.holds for result in results) else 1


def _run(known: Benchmark, console: Console) -> list[BenchmarkResult]:
    with console.status(f"measuring {', '.join(known.names)} ..."):
        results = list(known.measure())
    assert {result.name for result in results} == set(known.names), f"{known.names} gave {results}"
    return results


def _write(results: list[BenchmarkResult]) -> None:
    """Results of this run replace those of the same name; the others stay."""
    kept = msgspec.json.decode(OUT.read_bytes(), type=list[BenchmarkResult]) if OUT.exists() else []
    fresh = {result.name for result in results}
    merged = [*(result for result in kept if result.name not in fresh), *results]
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_bytes(msgspec.json.format(msgspec.json.encode(merged), indent=1))


def _table(results: list[BenchmarkResult]) -> Table:
    table = Table("name", "value", "unit", "ratio", "reference", "goal", "holds")
    for r in results:
        ratio = "" if r.ratio is None else f"{r.ratio:.3g}"
        table.add_row(
            r.name, f"{r.value:.5g}", r.unit, ratio, r.reference, r.goal, "yes" if r.holds else "NO"
        )
    return table


if __name__ == "__main__":
    raise SystemExit(main())
