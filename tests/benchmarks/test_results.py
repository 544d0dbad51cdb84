"""The files of benchmark results, and the page that is generated from them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from benchmarks.page import highlights_table, pages, results_table
from benchmarks.registry import BENCHMARKS, BenchmarkResult, at_least, at_most, benchmark
from benchmarks.results_file import (
    HISTORY,
    BenchmarkRun,
    add_earlier,
    newest_file,
    read_run,
    write_run,
)

ROOT = Path(__file__).parents[2]


def make_run(date: str, *results: BenchmarkResult) -> BenchmarkRun:
    return BenchmarkRun(date=date, machine="2 cores", results=list(results))


@pytest.mark.parametrize("path", list(pages()), ids=lambda path: path.name)
def test_pages_committed_tables_are_current(path: Path) -> None:
    """``make docs`` has been run since the newest results were committed."""
    assert pages()[path] == path.read_text()


def test_results_of_numpy_are_written(tmp_path: Path) -> None:
    """A benchmark may yield numbers of NumPy, as its value, its goal's outcome, its interval and its reference."""
    one, two = np.float64(1), np.float64(2)
    result = at_least("x", two, "s", float(one), reference="", reference_value=two, interval=(one, two))
    write_run(tmp_path / "bench.json", make_run("2026-12-01", result))
    (read,) = read_run(tmp_path / "bench.json").results
    assert (read.value, read.ratio, read.low, read.high, read.holds) == (2, 1, 1, 2, True)


def test_highlights_table_names_value_and_command() -> None:
    """The date stands once, above the table; a benchmark that was not measured has no row."""
    cold = at_most("cold_start_ratio", 1.294, "ratio", 1.5, reference="hello-world")
    table = highlights_table(make_run("2026-12-01", cold))
    assert table.startswith("Measured on 2026-12-01: 2 cores.\n\n")
    assert table.splitlines()[4:] == [
        "| cold start of `recommend` / that of an empty function | 1.294 | `make bench ONLY=cold_start_ratio` |"
    ]


@pytest.mark.parametrize("path", sorted((ROOT / HISTORY).glob("*.json")), ids=lambda path: path.stem)
def test_committed_results_verdicts_follow_from_goals(path: Path) -> None:
    """The name of a file is its date, and each verdict is that of value and goal."""
    run = read_run(path)
    assert run.date == path.stem
    assert len({result.name for result in run.results}) == len(run.results)
    for result in run.results:
        comparison, goal = result.goal.split()
        holds = result.value <= float(goal) if comparison == "<=" else result.value >= float(goal)
        assert result.holds == holds, result.name


def test_results_table_missed_goal_is_marked() -> None:
    """Value, unit, interval, reference and verdict are in one row; the summary counts the goals."""
    slow = at_most("slow", 1234.5, "us", 60, reference="a call", interval=(1000.0, 2000.0))
    good = at_least("good", 0.61, "ratio", 0.55, reference="hello-world")
    table = results_table(make_run("2026-12-01", slow, good))
    assert "| `slow` | ≤ 60 | 1,234 us | 1,000 to 2,000 | a call | **missed** |" in table
    assert "| `good` | ≥ 0.55 | 0.61 |  | hello-world | pass |" in table
    assert "1 of 2 goals reached" in table


def test_results_table_earlier_result_has_its_date() -> None:
    """A result of the day of the run has none, even if it was added to the file later."""
    earlier = make_run("2026-12-01", at_most("slow", 1.0, "s", 2, reference="r"))
    fresh = make_run("2026-12-05", *add_earlier([], earlier, ["slow"]))
    assert "1 s (2026-12-01)" in results_table(fresh)
    assert "(2026-12-01)" not in results_table(make_run("2026-12-01", *fresh.results))


def test_write_run_then_read_run_gives_the_same(tmp_path: Path) -> None:
    result = at_most("a", 2.0, "s", 1, reference="r", reference_value=4.0, interval=(1.5, 2.5))
    run = make_run("2026-12-01", result)
    write_run(tmp_path / "new" / "2026-12-01.json", run)
    assert read_run(tmp_path / "new" / "2026-12-01.json") == run
    assert (result.ratio, result.holds) == (0.5, False)


def test_newest_file_picks_the_latest_date(tmp_path: Path) -> None:
    """Without any result the error names the command that makes one."""
    with pytest.raises(FileNotFoundError, match="make bench"):
        newest_file(tmp_path)
    for date in ("2026-11-28", "2027-01-02", "2026-12-31"):
        write_run(tmp_path / f"{date}.json", make_run(date))
    assert newest_file(tmp_path).stem == "2027-01-02"


def test_add_earlier_fresh_result_replaces_earlier_one() -> None:
    """A result that is measured again loses its date; one whose benchmark is gone is dropped."""
    earlier = make_run("2026-12-01", *(at_most(name, 1.0, "s", 2, reference="r") for name in ("a", "b", "withdrawn")))
    merged = add_earlier([at_most("a", 3.0, "s", 2, reference="r")], earlier, ["a", "b"])
    assert [(r.name, r.value, r.measured) for r in merged] == [("a", 3.0, ""), ("b", 1.0, "2026-12-01")]


def test_benchmark_second_registration_of_a_name_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    known = list(BENCHMARKS)
    monkeypatch.setattr("benchmarks.registry.BENCHMARKS", known)
    benchmark("only_once")(lambda: [])
    with pytest.raises(ValueError, match="only_once"):
        benchmark("only_once", "another")(lambda: [])
