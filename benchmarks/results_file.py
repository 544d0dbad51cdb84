"""Files of benchmark results: one run, and the committed history ``benchmarks/results/<date>.json``."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path

import msgspec

from benchmarks.registry import BenchmarkResult

LATEST = Path("build/bench.json")
HISTORY = Path("benchmarks/results")


class BenchmarkRun(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All results of one run: its date (ISO 8601), machine and commit, and the source if it was entered by hand."""

    date: str
    machine: str
    commit: str = ""
    source: str = ""
    results: list[BenchmarkResult]


def read_run(path: Path) -> BenchmarkRun:
    """Read the results of one run. Raises ``msgspec.ValidationError`` for a file of another shape."""
    return msgspec.json.decode(path.read_bytes(), type=BenchmarkRun)


def write_run(path: Path, run: BenchmarkRun) -> None:
    """Write the results of one run as indented JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(run), indent=1) + b"\n")


def newest_file(history: Path = HISTORY) -> Path:
    """Return the newest file of the history; its name is its date. Raises ``FileNotFoundError`` if there is none."""
    files = sorted(history.glob("????-??-??.json"))
    if not files:
        raise FileNotFoundError(f"{history} holds no results; run make bench")
    return files[-1]


def add_earlier(
    fresh: Iterable[BenchmarkResult], earlier: BenchmarkRun, names: Collection[str]
) -> list[BenchmarkResult]:
    """Return ``fresh`` and, for each other name of ``names``, its result from ``earlier`` with its date."""
    results = list(fresh)
    present = {result.name for result in results}
    for result in earlier.results:
        if result.name in names and result.name not in present:
            results.append(msgspec.structs.replace(result, measured=result.measured or earlier.date))
    return results
