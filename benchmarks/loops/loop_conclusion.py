"""Conclusions of docs/feedback-loops.md, generated from the intervals."""

from __future__ import annotations

from benchmarks.loops.loop_measures import ALIKE, COVERAGE, GINI, NEW, QUALITY
from benchmarks.loops.loop_report import LoopReport, format_metric
from benchmarks.loops.loop_variants import CONFIRMED, FORMER, NO_LISTS, PLAIN
from benchmarks.loops.loop_world import MINORITY
from marquee.registry.manifest import Metric


def format_difference(metric: Metric) -> str:
    """Return a difference with half the width of its interval, bold if the interval excludes 0."""
    text = format_metric(metric, signed=True)
    return f"**{text}**" if metric.excludes_zero else text


def conclude(report: LoopReport) -> list[str]:
    """Return the conclusions, one or two sentences for each question."""
    return [
        _recommending(report),
        _exploring(report, CONFIRMED),
        _exploring(report, FORMER),
        *(_describe(report, name) for name in report.runs if name not in (PLAIN, NO_LISTS, CONFIRMED, FORMER)),
        _choose(report),
    ]


def _recommending(report: LoopReport) -> str:
    alike = report.difference(PLAIN, ALIKE, NO_LISTS)
    return (
        f"**Recommending itself** makes users {'more' if alike.value > 0 else 'less'} alike than uniform lists do "
        f"({format_difference(alike)}), shows {_change(report.difference(PLAIN, COVERAGE, NO_LISTS))} of the catalog "
        f"in a day, and has {_change(report.difference(PLAIN, QUALITY, NO_LISTS))} of quality."
    )


def _exploring(report: LoopReport, name: str) -> str:
    return _describe(report, name, f"**{name}** ({'recommended' if name == CONFIRMED else 'the former default'})")


def _describe(report: LoopReport, name: str, title: str = "") -> str:
    measures = {"quality": QUALITY, "coverage": COVERAGE, "Gini": GINI, "new movies": NEW, "alikeness": ALIKE}
    found = {label: report.difference(name, measure) for label, measure in measures.items()}
    found["quality of the minority"] = report.difference(name, f"{QUALITY}, {MINORITY}")
    clear = [f"{label} {format_metric(metric, signed=True)}" for label, metric in found.items() if metric.excludes_zero]
    rest = [label for label, metric in found.items() if not metric.excludes_zero]
    text = f"{title or f'**{name}**'}: " + (", ".join(clear) if clear else "no measure differs")
    return f"{text}. Not distinguishable from no exploration: {', '.join(rest)}." if rest else f"{text}."


def _choose(report: LoopReport) -> str:
    quality = report.difference(CONFIRMED, QUALITY, FORMER)
    coverage = report.difference(CONFIRMED, COVERAGE, FORMER)
    if quality.excludes_zero and quality.value < 0:
        verdict = "The former default is kept: the other one costs quality"
    else:
        verdict = "In the long run nothing speaks against the recommended exploration"
    return (
        f"**Chosen.** {verdict}. Against the former default, quality differs by {format_difference(quality)} and "
        f"coverage by {format_difference(coverage)}. Off-policy support decides between them "
        "([experiments](experiments.md#other-rankers-off-policy-estimates))."
    )


def _change(metric: Metric) -> str:
    word = "more" if metric.value > 0 else "less"
    return f"{abs(metric.value):.3f} {word}" if metric.excludes_zero else "no distinguishable change"
