"""docs/feedback-loops.md: the conclusion follows from intervals, and the committed page from the committed results."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from benchmarks.loops import loop_conclusion, loops_page
from benchmarks.loops.loop_measures import COVERAGE, MEASURES, QUALITY, LoopRun
from benchmarks.loops.loop_report import LoopReport
from benchmarks.loops.loop_variants import CONFIRMED, FORMER, NO_LISTS, PLAIN
from benchmarks.loops.loop_world import HEAVY, LIGHT, MAJORITY, MINORITY, WorldSize

GROUPS = (MAJORITY, MINORITY, LIGHT, HEAVY)


def make_report(quality: dict[str, float], noise: float) -> LoopReport:
    """Return two days of four seeds; the variants differ in quality, and all measures have noise."""
    rng = np.random.default_rng(0)
    runs = {}
    for name in (PLAIN, FORMER, CONFIRMED, NO_LISTS):
        runs[name] = [
            LoopRun(
                name,
                seed,
                {
                    measure: [
                        0.5 + (quality.get(name, 0.0) if measure == QUALITY else 0) + noise * float(rng.normal())
                        for _ in range(2)
                    ]
                    for measure in MEASURES
                },
                {group: [0.5 + noise * float(rng.normal())] * 2 for group in GROUPS},
                "0" * 64,
            )
            for seed in range(1, 5)
        ]
    return LoopReport(WorldSize(days=2), [1, 2, 3, 4], runs, "2026-01-01", "a machine")


def test_conclude_noise_alone_is_printed_as_no_difference() -> None:
    """Equal variants are not distinguishable, and the sentence says so."""
    sentences = loop_conclusion.conclude(make_report({}, 0.01))
    recommended = next(sentence for sentence in sentences if sentence.startswith(f"**{CONFIRMED}**"))
    assert "Not distinguishable from no exploration: quality" in recommended
    assert "nothing speaks against" in sentences[-1]


def test_conclude_worse_exploration_is_not_chosen() -> None:
    """If the recommended exploration costs quality beyond the interval, the former default is kept."""
    sentences = loop_conclusion.conclude(make_report({CONFIRMED: -0.2}, 0.01))
    assert "The former default is kept" in sentences[-1]


def test_results_survive_their_file(tmp_path: Path) -> None:
    """A measure that has no value on a day is NaN in the file's report, too."""
    report = make_report({}, 0.01)
    report.runs[PLAIN][0].days[COVERAGE][0] = float("nan")
    loops_page.write_results(tmp_path, report)
    read = loops_page.read_results(tmp_path)
    assert np.isnan(read.runs[PLAIN][0].days[COVERAGE][0])
    assert list(read.runs) == list(report.runs)


def test_committed_page_follows_from_committed_results() -> None:
    """`make loops` has been run, with the present template."""
    report = loops_page.read_results(Path())
    assert loops_page.PAGE.read_text() == loops_page.render_page(report)
