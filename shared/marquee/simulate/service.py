"""The streaming service: its customers watch, rate and ask, and it logs all of it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from marquee.simulate.event_log import EventLog
from marquee.simulate.hashed_rng import uniform
from marquee.simulate.producer import KafkaRecordProducer
from marquee.simulate.rate import RateLimiter, poisson_arrivals
from marquee.simulate.recommend_client import RecommendClient
from marquee.simulate.report import SimulationReport, now
from marquee.simulate.sessions import ActiveSessions

log = logging.getLogger(__name__)

_TICK_S = 0.004
# Answers wait while lines are made: never longer than this at a time.
_STINT = 200
_REPORT_S = 0.5


@dataclass(frozen=True)
class SimulationPlan:
    """How much of what, and until when; 0 lines a second: none, ``lines`` 0 or ``seconds`` 0: no end.

    ``invalid_requests``: the share of requests with a user id that no customer has.
    ``patience_s``: at the end lines on their way are waited for, so long as some get through that often.
    ``stay``: go on asking when there is nothing left to watch, instead of ending.
    """

    mode: str
    seed: int
    lines_per_second: float
    requests_per_second: float
    lines: int = 0
    seconds: float = 0.0
    invalid_requests: float = 0.0
    stay: bool = False
    report: Path | None = None
    patience_s: float = 30.0


class StreamingService:
    """One run. ``caller`` None: nobody asks for recommendations. ``show`` is called with every report."""

    def __init__(
        self,
        plan: SimulationPlan,
        screens: ActiveSessions,
        journal: EventLog,
        caller: RecommendClient | None,
        show: Callable[[SimulationReport], None] = lambda report: None,
    ) -> None:
        self.plan, self.screens, self.journal, self.caller, self._show = plan, screens, journal, caller, show
        self.report = SimulationReport(mode=plan.mode, seed=plan.seed, started=now(), updated=now())
        self._began = time.monotonic()
        self._lines = 0
        self._asking: set[asyncio.Task[None]] = set()
        self._over = asyncio.Event()

    async def run(self, stop: asyncio.Event) -> SimulationReport:
        """Serve until the plan is done or ``stop`` is set; returns the last report, whatever happened."""
        async with AsyncExitStack() as stack:
            try:
                if self.caller:
                    await stack.enter_async_context(self.caller)
                await self._serve(stop)
            finally:
                await self._close()
        return self.report

    async def _serve(self, stop: asyncio.Event) -> None:
        if not await self._log_is_there(stop):
            return
        self._began = time.monotonic()
        parts = [self._customers(), self._reports(), stop.wait(), self._over.wait()]
        if self.caller and self.plan.requests_per_second:
            parts.append(self._requests(self.caller))
        if self.plan.seconds:
            parts.append(asyncio.sleep(self.plan.seconds))
        tasks = [asyncio.ensure_future(part) for part in parts]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _log_is_there(self, stop: asyncio.Event) -> bool:
        writer = self.journal.writer
        while isinstance(writer, KafkaRecordProducer) and not await asyncio.to_thread(writer.make_topic):
            self._write_report()
            try:
                await asyncio.wait_for(stop.wait(), 0.5)
                return False
            except TimeoutError:
                pass
        return not stop.is_set()

    async def _customers(self) -> None:
        """The customers' lines, evenly at the rate; also serves the log's acknowledgements."""
        pace, writer = RateLimiter(self.plan.lines_per_second, time.monotonic()), self.journal.writer
        while True:
            due = min(pace.due(time.monotonic()), _STINT, self._lines_left())
            written = self._write_lines(due) if writer.ready() else 0
            pace.did(written)
            writer.poll()
            if self._finished():
                self._over.set()
            # A full stint means that more is due: only let others run.
            await asyncio.sleep(0 if written == _STINT else _TICK_S)

    def _lines_left(self) -> int:
        return self.plan.lines - self._lines if self.plan.lines else _STINT

    def _finished(self) -> bool:
        if not self.plan.lines_per_second:
            return False
        if self.plan.lines:
            return self._lines >= self.plan.lines
        return self.screens.audience.over and not self.plan.stay

    def _write_lines(self, count: int) -> int:
        screens, journal = self.screens, self.journal
        for written in range(count):
            event = screens.next(journal.time())
            if event is None:
                return written
            journal.write(event)
            self._lines += 1
        return count

    async def _requests(self, caller: RecommendClient) -> None:
        """Requests leave when they are due, whether or not the ones before were answered."""
        for number, at in enumerate(poisson_arrivals(self.plan.requests_per_second, self.plan.seed)):
            await asyncio.sleep(max(0.0, self._began + at - time.monotonic()))
            invalid = uniform(self.plan.seed, "invalid", number) < self.plan.invalid_requests
            task = asyncio.ensure_future(
                self._ask_invalid(caller, number) if invalid else self._ask(caller, number)
            )
            self._asking.add(task)
            task.add_done_callback(self._asking.discard)

    async def _ask(self, caller: RecommendClient, number: int) -> None:
        request = await caller.ask(self.screens.audience.asks(number))
        self.journal.write(request)
        self.screens.audience.recommend(number, request.user_id, request.movie_ids)

    async def _ask_invalid(self, caller: RecommendClient, number: int) -> None:
        await caller.ask_invalid(number)

    async def _reports(self) -> None:
        while True:
            await asyncio.sleep(_REPORT_S)
            self._write_report()

    async def _close(self) -> None:
        """Answers that are on their way are waited for and logged, then every line is."""
        if self._asking:
            await asyncio.wait(self._asking)
        elapsed = time.monotonic() - self._began
        try:
            await self._until_safe()
        finally:
            self._write_report(elapsed, finished=True)

    async def _until_safe(self) -> None:
        writer, tally = self.journal.writer, self.journal.tally
        reports = asyncio.ensure_future(self._reports())
        safe, since = tally.acknowledged, time.monotonic()
        writer.poll()
        while writer.left() and time.monotonic() < since + self.plan.patience_s:
            await asyncio.sleep(_TICK_S)
            writer.poll()
            if tally.acknowledged > safe:
                safe, since = tally.acknowledged, time.monotonic()
        reports.cancel()
        if tally.unacknowledged:
            log.error(
                "%d lines were not acknowledged: %s", tally.unacknowledged, tally.refusal or writer.waiting
            )

    def _write_report(self, elapsed: float | None = None, *, finished: bool = False) -> None:
        report, screens, tally = self.report, self.screens, self.journal.tally
        elapsed = elapsed or max(1e-9, time.monotonic() - self._began)
        tally.fill(report)
        report.updated, report.finished = now(), finished
        report.waiting = self.journal.writer.waiting or tally.refusal
        report.sessions, report.sessions_recommended = screens.begun, screens.recommended
        report.minutes_missing, report.minutes_repeated = screens.missing, screens.repeated
        report.lines_per_second = round(report.acknowledged / elapsed, 1)
        report.requests_unfinished = len(self._asking)
        if self.caller:
            caller = self.caller
            report.requests = _texts(caller.statuses)
            report.invalid_requests = _texts(caller.invalid_statuses)
            report.unusable_answers, report.response_ms = caller.unusable, caller.stopwatch.times()
            report.requests_per_second = round(report.response_ms.count / elapsed, 1)
        if self.plan.report:
            report.write(self.plan.report)
        self._show(report)


def _texts(statuses: dict[int, int]) -> dict[str, int]:
    return {str(status): count for status, count in sorted(statuses.items())}
