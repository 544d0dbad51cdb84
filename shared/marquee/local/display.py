"""The display of the demo: a table redrawn on a terminal, elsewhere one line every few seconds."""

from __future__ import annotations

import time
from collections.abc import Mapping

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from marquee.evaluation.bootstrap import Accuracy
from marquee.local.live_stats import REFUSED, RELEASED, LiveStats
from marquee.local.state_dir import PartState
from marquee.simulate.progress import LiveDisplay

LINE_INTERVAL_S = 5.0


class DemoDisplay(LiveDisplay):
    """The live statistics. Text that is printed to the console appears above them and remains."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._console = console
        self._started = time.monotonic()
        self._next_line = self._started
        self._release = 0

    def show(self, stats: LiveStats, parts: tuple[PartState, ...]) -> None:
        """Print a new release with its reason; then redraw the table, or print a line if one is due."""
        now = time.monotonic()
        if stats.release_number != self._release:
            self._release = stats.release_number
            self._console.print(f"Release {self._release} by {stats.release_reason}", soft_wrap=True)
        if self.draw(lambda: stats_table(stats, parts, now - self._started)):
            return
        if now >= self._next_line:
            self._next_line = now + LINE_INTERVAL_S
            self._console.print(format_line(stats, now - self._started), soft_wrap=True)


def format_line(stats: LiveStats, seconds: float) -> str:
    """Return the statistics as one line of plain text."""
    fields = [f"{seconds:5.0f} s"]
    fields += [f"{label} {text}" for label, text in stat_texts(stats).items() if text]
    return " | ".join(fields)


def stats_table(stats: LiveStats, parts: tuple[PartState, ...], seconds: float) -> RenderableType:
    """Return the statistics as a table, below a line with the state of the parts."""
    table = Table.grid(padding=(0, 2))
    table.add_column(justify="right", style="bold")
    table.add_column()
    for label, text in stat_texts(stats).items():
        table.add_row(label, text or "-")
    header = Text(f"{seconds:.0f} s   ")
    for part in parts:
        restarts = f" (restarted {part.restarts}x)" if part.restarts else ""
        header.append(f"{part.name}{restarts}  ", style="green" if part.pids else "bold red")
    return Group(header, table)


def stat_texts(stats: LiveStats) -> dict[str, str]:
    """Return label -> text in display order; a text is empty if there is no value yet."""
    report = stats.report
    times = report.response_ms if report else None
    rate = f" ({report.records_per_second:,.0f}/s)" if report else ""
    if report and report.exhausted:
        rate = " (the replay is over: users only request lists)"
    failed = f", failed: {_format_counts(stats.failed_requests)}" if stats.failed_requests else ""
    return {
        "records in": f"{stats.acknowledged:,}{rate}",
        "rows written": f"{stats.rows:,}",
        "lag": f"{stats.lag:,}",
        "quarantined": _format_counts(stats.quarantine),
        "responses": f"{stats.successful_requests:,}{failed}",
        "tiers": _format_counts(stats.tiers),
        "response time": f"p50 {times.p50:.0f} ms, p99 {times.p99:.0f} ms" if times and times.count else "",
        "live RMSE": _format_accuracy(stats.accuracy),
        "serving": f"release {stats.release_number}: {', '.join(stats.serving)}" if stats.serving else "",
        "retrained": _format_retrains(stats),
    }


def _format_accuracy(accuracy: Accuracy | None) -> str:
    if accuracy is None:
        return ""
    rmse = accuracy.rmse
    return f"{rmse.value:.3f} [{rmse.low:.3f}, {rmse.high:.3f}] on {accuracy.ratings:,} ratings"


def _format_retrains(stats: LiveStats) -> str:
    codes = [run.code for run in stats.retrains]
    failed = len([code for code in codes if code not in (RELEASED, REFUSED)])
    texts = [f"{codes.count(RELEASED)}x"]
    texts += [f"{codes.count(REFUSED)}x refused"] * (REFUSED in codes)
    texts += [f"{failed}x failed"] * bool(failed)
    return ", ".join(texts)


def _format_counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items()))
