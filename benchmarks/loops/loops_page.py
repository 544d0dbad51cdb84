"""Generation of docs/feedback-loops.md and its charts; equal results give equal bytes."""

from __future__ import annotations

from pathlib import Path

import msgspec

from benchmarks import report_files
from benchmarks.loops import loop_charts, loop_conclusion
from benchmarks.loops.loop_measures import LAST_DAYS, MEASURES, QUALITY
from benchmarks.loops.loop_report import LoopReport, format_metric, restore_run
from benchmarks.loops.loop_variants import PLAIN
from benchmarks.loops.loop_world import WorldSize
from marquee.cli.text_table import markdown_table
from marquee.config import atomic_file

RESULTS, PAGE, CHARTS = Path("reports/feedback_loops.json"), Path("docs/feedback-loops.md"), Path("docs/feedback-loops")
_TEMPLATE = Path(__file__).with_name("loops.md.template")


def write_results(root: Path, report: LoopReport) -> None:
    """Write the results below ``root``, where :func:`write_page` reads them."""
    rounded = msgspec.json.decode(msgspec.json.encode(report))
    for runs in rounded["runs"].values():
        for run in runs:
            for part in ("days", "groups"):
                run[part] = {name: [_round(value) for value in values] for name, values in run[part].items()}
    atomic_file.write_atomically(root / RESULTS, msgspec.json.encode(rounded) + b"\n")


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def read_results(root: Path) -> LoopReport:
    """Read the results below ``root``; a measure without a value on a day is NaN."""
    plain = msgspec.json.decode((root / RESULTS).read_bytes())
    runs = {name: [restore_run(run) for run in runs] for name, runs in plain.pop("runs").items()}
    return LoopReport(msgspec.convert(plain["size"], WorldSize), plain["seeds"], runs, plain["made"], plain["machine"])


def write_page(root: Path) -> list[Path]:
    """Write the page and the charts from the results below ``root``; return their paths."""
    return report_files.write_files(root, render_files(read_results(root)))


def render_files(report: LoopReport) -> dict[Path, str]:
    """Return the content of the page and of each chart, by path."""
    return {PAGE: render_page(report)} | {CHARTS / name: svg for name, svg in loop_charts.draw_charts(report).items()}


def render_page(report: LoopReport) -> str:
    """Return the page as Markdown."""
    size = report.size
    groups = list(next(iter(report.runs.values()))[0].groups)
    return _TEMPLATE.read_text().format(
        made=report.made,
        machine=report.machine,
        seeds=f"{report.seeds[0]} to {report.seeds[-1]}",
        n_seeds=len(report.seeds),
        users=f"{size.users:,}",
        movies=f"{size.movies:,}",
        days=size.days,
        history=size.history_days,
        minority=f"{100 * size.minority:.0f} %",
        new=f"{100 * size.new_movies:.0f} %",
        visits=size.visits,
        outside=size.outside,
        drift=f"{100 * size.drift:g} %",
        examination=size.examination,
        last=LAST_DAYS,
        plain=PLAIN,
        data=next(iter(report.runs.values()))[0].data[:16],
        conclusion="\n".join(f"- {sentence}" for sentence in loop_conclusion.conclude(report)),
        means=_mean_table(report),
        differences=_difference_table(report, list(MEASURES)),
        groups=_difference_table(report, [f"{QUALITY}, {group}" for group in groups]),
    )


def _mean_table(report: LoopReport) -> str:
    rows = ([name, *(format_metric(report.mean(name, measure)) for measure in MEASURES)] for name in report.runs)
    return markdown_table(["variant", *(loop_charts.LABELS[measure] for measure in MEASURES)], rows)


def _difference_table(report: LoopReport, measures: list[str]) -> str:
    rows = (
        [name, *(loop_conclusion.format_difference(report.difference(name, measure)) for measure in measures)]
        for name in report.runs
        if name != PLAIN
    )
    return markdown_table(["variant", *(loop_charts.LABELS.get(m, m.partition(", ")[2]) for m in measures)], rows)
