"""The live display of a simulation on a terminal, and its summary."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console, RenderableType
from rich.live import Live
from rich.table import Table

from marquee.simulate.report import SimulationReport


class LiveDisplay:
    """A display that is redrawn in place on a terminal and removed at the end; nothing if not a terminal."""

    def __init__(self, console: Console) -> None:
        self._live = Live(console=console, transient=True, auto_refresh=False) if console.is_terminal else None

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def draw(self, render: Callable[[], RenderableType]) -> bool:
        """Draw the result of ``render``; return False, without calling it, if there is no terminal."""
        if self._live:
            self._live.update(render(), refresh=True)
        return self._live is not None


class ReportDisplay(LiveDisplay):
    """The newest report of a simulation, redrawn in place on stderr."""

    def __init__(self) -> None:
        super().__init__(Console(stderr=True))

    def show(self, report: SimulationReport) -> None:
        """Draw ``report``."""
        self.draw(lambda: _progress_table(report))


def _progress_table(report: SimulationReport) -> Table:
    table = Table.grid(padding=(0, 2))
    for label, text in summary_rows(report):
        table.add_row(f"[bold]{label}[/bold]", text)
    return table


def summary_rows(report: SimulationReport) -> list[tuple[str, str]]:
    """Return ``report`` as pairs of a label and a text."""
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in report.records.items() if count)
    rate = f"{report.records_per_second:,.0f}/s"
    rows = [("records", f"{report.acknowledged:,} acknowledged ({rate}): {kinds or 'none'}")]
    if report.unacknowledged:
        rows.append(("in flight", f"{report.unacknowledged:,}"))
    if report.corrupted:
        corrupted = sum(sum(kinds.values()) for kinds in report.corrupted.values())
        rows.append(("corrupted", f"{corrupted:,}, {sum(report.malformed.values()):,} of them malformed"))
    if report.requests:
        rows.append(("requests", f"{_format_statuses(report.requests)} ({report.requests_per_second:,.1f}/s)"))
        ms = report.response_ms
        rows.append(("response", f"p50 {ms.p50:g}, p90 {ms.p90:g}, p99 {ms.p99:g}, max {ms.max:g} ms"))
        rows.append(("followed", f"{report.sessions_recommended:,} of {report.sessions:,} watch sessions"))
    if report.invalid_responses:
        rows.append(("invalid", f"{report.invalid_responses:,} responses are not a list of movie ids"))
    if report.invalid_requests:
        rows.append(("invalid requests", _format_statuses(report.invalid_requests)))
    if report.problem:
        rows.append(("waiting", report.problem))
    return rows


def _format_statuses(by_status: dict[str, int]) -> str:
    return ", ".join(f"{count:,} x {status}" for status, count in by_status.items())
