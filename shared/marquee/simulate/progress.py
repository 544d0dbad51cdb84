"""What a person at a terminal sees of a run."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console, RenderableType
from rich.live import Live
from rich.table import Table

from marquee.simulate.report import SimulationReport


class Redrawn:
    """Something drawn in place on a terminal, over and over, and gone at the end; nothing elsewhere."""

    def __init__(self, console: Console) -> None:
        self._live = (
            Live(console=console, transient=True, auto_refresh=False) if console.is_terminal else None
        )

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def draw(self, make: Callable[[], RenderableType]) -> bool:
        """Draw what ``make`` makes; returns whether there is a terminal to draw it on."""
        if self._live:
            self._live.update(make(), refresh=True)
        return self._live is not None


class Progress(Redrawn):
    """The newest report, redrawn in place on stderr; silent where stderr is no terminal."""

    def __init__(self) -> None:
        super().__init__(Console(stderr=True))

    def show(self, report: SimulationReport) -> None:
        """Draw ``report``."""
        self.draw(lambda: _table(report))


def _table(report: SimulationReport) -> Table:
    table = Table.grid(padding=(0, 2))
    for label, text in rows(report):
        table.add_row(f"[bold]{label}[/bold]", text)
    return table


def rows(report: SimulationReport) -> list[tuple[str, str]]:
    """The report as labelled lines of text: also the summary at the end."""
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in report.lines.items() if count)
    shown = [("lines", f"{report.acknowledged:,} safe ({report.lines_per_second:,.0f}/s): {kinds or 'none'}")]
    if report.unacknowledged:
        shown.append(("on their way", f"{report.unacknowledged:,}"))
    if report.corrupted:
        spoiled = sum(sum(kinds.values()) for kinds in report.corrupted.values())
        shown.append(("corrupted", f"{spoiled:,}, of which {sum(report.unreadable.values()):,} unreadable"))
    if report.requests:
        shown.append(("requests", f"{_counts(report.requests)} ({report.requests_per_second:,.1f}/s)"))
        ms = report.response_ms
        shown.append(("response", f"p50 {ms.p50:g}, p90 {ms.p90:g}, p99 {ms.p99:g}, most {ms.max:g} ms"))
        shown.append(("followed", f"{report.sessions_recommended:,} of {report.sessions:,} watch sessions"))
    if report.unusable_answers:
        shown.append(("unusable", f"{report.unusable_answers:,} answers were no list of movie ids"))
    if report.invalid_requests:
        shown.append(("invalid requests", _counts(report.invalid_requests)))
    if report.waiting:
        shown.append(("waiting", report.waiting))
    return shown


def _counts(by_status: dict[str, int]) -> str:
    return ", ".join(f"{count:,} x {status}" for status, count in by_status.items())
