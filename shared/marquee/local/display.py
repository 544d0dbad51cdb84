"""The demo's display: a table that is redrawn on a terminal, one line each few seconds elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from marquee.evaluation.streaming_bootstrap import Accuracy
from marquee.local.live_stats import REFUSED, RELEASED, LiveStats
from marquee.local.state_dir import PartState
from marquee.simulate.progress import Redrawn

PLAIN_EVERY_S = 5.0


class Display(Redrawn):
    """Shows each score. What is said meanwhile goes above the table, and stays."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._console = console
        self._began = time.monotonic()
        self._next_line = self._began

    def show(self, score: LiveStats, parts: tuple[PartState, ...]) -> None:
        """Draw anew, or print a line if it is time for one."""
        now = time.monotonic()
        if self.draw(lambda: table(score, parts, now - self._began)):
            return
        if now >= self._next_line:
            self._next_line = now + PLAIN_EVERY_S
            self._console.print(line(score, now - self._began), soft_wrap=True)


def line(score: LiveStats, seconds: float) -> str:
    """The score in one line of plain text."""
    words = [f"{seconds:5.0f} s"]
    words += [f"{label} {text}" for label, text in figures(score).items() if text]
    return " | ".join(words)


def table(score: LiveStats, parts: tuple[PartState, ...], seconds: float) -> RenderableType:
    """The score as a table, above a line on the parts."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(justify="right", style="bold")
    grid.add_column()
    for label, text in figures(score).items():
        grid.add_row(label, text or "-")
    well = Text(f"{seconds:.0f} s   ")
    for part in parts:
        again = f" (restarted {part.restarts}x)" if part.restarts else ""
        well.append(f"{part.name}{again}  ", style="green" if part.pids else "bold red")
    return Group(well, grid)


def figures(score: LiveStats) -> dict[str, str]:
    """Label -> text, in the order in which they are shown."""
    report = score.report
    times = report.response_ms if report else None
    rate = f" ({report.lines_per_second:,.0f}/s)" if report else ""
    return {
        "lines in": f"{score.lines:,}{rate}",
        "rows written": f"{score.rows:,}",
        "lag": f"{score.lag:,}",
        "quarantined": _counts(score.quarantine),
        "answers": f"{score.answers:,}" + (f", failed: {_counts(score.failures)}" if score.failures else ""),
        "tiers": _counts(score.tiers),
        "response": f"p50 {times.p50:.0f} ms, p99 {times.p99:.0f} ms" if times and times.count else "",
        "live RMSE": _accuracy(score.accuracy),
        "serving": f"release {score.release_number}: {', '.join(score.serving)}" if score.serving else "",
        "retrained": _retrained(score),
    }


def _accuracy(found: Accuracy | None) -> str:
    if found is None:
        return ""
    rmse = found.rmse
    return f"{rmse.value:.3f} [{rmse.low:.3f}, {rmse.high:.3f}] on {found.ratings:,} ratings"


def _retrained(score: LiveStats) -> str:
    codes = [run.code for run in score.retrains]
    failed = len([code for code in codes if code not in (RELEASED, REFUSED)])
    words = [f"{codes.count(RELEASED)}x"]
    words += [f"{codes.count(REFUSED)}x refused"] * (REFUSED in codes)
    words += [f"{failed}x failed"] * bool(failed)
    return ", ".join(words)


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items()))
