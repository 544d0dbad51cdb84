"""The streaming service: its users watch, rate and request recommendations, and it logs their events."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from marquee.events.kinds import Event
from marquee.simulate.event_log import EventLog
from marquee.simulate.hashed_rng import uniform
from marquee.simulate.producer import KafkaRecordProducer
from marquee.simulate.rate import RateLimiter, poisson_arrivals
from marquee.simulate.recommend_client import RecommendClient
from marquee.simulate.report import SimulationReport
from marquee.simulate.sessions import ActiveSessions

log = logging.getLogger(__name__)

_TICK_S = 0.004
# Responses are not processed while records are written, so this many at most are written at a time.
_MAX_BATCH = 200
_REPORT_INTERVAL_S = 0.5


@dataclass(frozen=True)
class SimulationPlan:
    """The rates and the end of a simulation; ``mode`` is ``replay`` or ``synthetic``, for the report.

    A rate of 0 means none, and a limit of 0 no limit. ``invalid_requests`` is the fraction of requests with an invalid
    user id. With ``keep_running``, requests continue when there is nothing left to watch. ``drain_timeout_s`` limits
    the final wait for acknowledgements, restarted by each of them.
    """

    mode: str
    seed: int
    records_per_second: float
    requests_per_second: float
    max_records: int = 0
    duration_s: float = 0.0
    invalid_requests: float = 0.0
    keep_running: bool = False
    report: Path | None = None
    drain_timeout_s: float = 30.0


class StreamingService:
    """One run of the streaming service.

    Without a ``client`` no recommendations are requested. ``show`` is called with every report.
    """

    def __init__(
        self,
        plan: SimulationPlan,
        sessions: ActiveSessions,
        event_log: EventLog,
        client: RecommendClient | None,
        show: Callable[[SimulationReport], None] = lambda _: None,
    ) -> None:
        self.plan, self.sessions, self.event_log = plan, sessions, event_log
        self.client, self._show = client, show
        self.report = SimulationReport(
            mode=plan.mode, seed=plan.seed, started=datetime.now(UTC), updated=datetime.now(UTC)
        )
        self._started = time.monotonic()
        self._records = 0
        self._requests: set[asyncio.Task[None]] = set()
        self._finished = asyncio.Event()
        self._accepting = False

    def write_from_outside(self, event: Event) -> bool:
        """Write the event of a real user; return False if the log does not accept records now.

        Records are accepted only while the simulation runs, so that the last report counts all of them.
        """
        if not (self._accepting and self.event_log.producer.has_room()):
            return False
        self.event_log.write_unchanged(event)
        return True

    async def run(self, stop: asyncio.Event) -> SimulationReport:
        """Serve until the plan is done or ``stop`` is set; return the last report."""
        async with AsyncExitStack() as stack:
            try:
                if self.client:
                    await stack.enter_async_context(self.client)
                await self._serve(stop)
            finally:
                await self._close()
        return self.report

    async def _serve(self, stop: asyncio.Event) -> None:
        if not await self._wait_for_topic(stop):
            return
        self._started, self._accepting = time.monotonic(), True
        work = [self._write_user_records(), self._write_reports(), stop.wait(), self._finished.wait()]
        if self.client and self.plan.requests_per_second:
            work.append(self._send_requests(self.client))
        if self.plan.duration_s:
            work.append(asyncio.sleep(self.plan.duration_s))
        tasks = [asyncio.ensure_future(coroutine) for coroutine in work]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            self._accepting = False
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _wait_for_topic(self, stop: asyncio.Event) -> bool:
        producer = self.event_log.producer
        while isinstance(producer, KafkaRecordProducer) and not await asyncio.to_thread(producer.ensure_topic):
            self._write_report()
            try:
                await asyncio.wait_for(stop.wait(), 0.5)
                return False
            except TimeoutError:
                pass
        return not stop.is_set()

    async def _write_user_records(self) -> None:
        """Write the users' records at an even rate, and process the acknowledgements of all records."""
        limiter = RateLimiter(self.plan.records_per_second, time.monotonic())
        producer = self.event_log.producer
        while True:
            due = min(limiter.due(time.monotonic()), _MAX_BATCH, self._remaining_records())
            written = self._write_events(due) if producer.has_room() else 0
            limiter.record(written)
            producer.poll()
            if self._is_finished():
                self._finished.set()
            # After a full batch more records are due, so only yield to other tasks.
            await asyncio.sleep(0 if written == _MAX_BATCH else _TICK_S)

    def _remaining_records(self) -> int:
        return self.plan.max_records - self._records if self.plan.max_records else _MAX_BATCH

    def _is_finished(self) -> bool:
        if not self.plan.records_per_second:
            return False
        if self.plan.max_records:
            return self._records >= self.plan.max_records
        return self.sessions.population.finished and not self.plan.keep_running

    def _write_events(self, count: int) -> int:
        for written in range(count):
            event = self.sessions.next_event(self.event_log.current_time())
            if event is None:
                return written
            self.event_log.write(event)
            self._records += 1
        return count

    async def _send_requests(self, client: RecommendClient) -> None:
        """Send each request when it is due, whether or not earlier ones have a response."""
        for number, at in enumerate(poisson_arrivals(self.plan.requests_per_second, self.plan.seed)):
            await asyncio.sleep(max(0.0, self._started + at - time.monotonic()))
            invalid = uniform(self.plan.seed, "invalid", number) < self.plan.invalid_requests
            work = client.request_invalid(number) if invalid else self._request(client, number)
            task: asyncio.Task[None] = asyncio.ensure_future(work)
            self._requests.add(task)
            task.add_done_callback(self._requests.discard)

    async def _request(self, client: RecommendClient, number: int) -> None:
        population = self.sessions.population
        request = await client.request(population.requesting_user(number))
        self.event_log.write(request)
        population.receive_recommendation(number, request.user_id, request.movie_ids)

    async def _write_reports(self) -> None:
        while True:
            await asyncio.sleep(_REPORT_INTERVAL_S)
            self._write_report()

    async def _close(self) -> None:
        """Wait for responses in flight, then for the acknowledgement of every record."""
        if self._requests:
            await asyncio.wait(self._requests)
        elapsed = time.monotonic() - self._started
        try:
            await self._drain()
        finally:
            self._write_report(elapsed, finished=True)

    async def _drain(self) -> None:
        producer, counts = self.event_log.producer, self.event_log.counts
        reports = asyncio.ensure_future(self._write_reports())
        acknowledged, since = counts.acknowledged, time.monotonic()
        producer.poll()
        while producer.pending() and time.monotonic() < since + self.plan.drain_timeout_s:
            await asyncio.sleep(_TICK_S)
            producer.poll()
            if counts.acknowledged > acknowledged:
                acknowledged, since = counts.acknowledged, time.monotonic()
        reports.cancel()
        if counts.unacknowledged:
            reason = counts.refusal or producer.problem
            log.error("%d records were not acknowledged: %s", counts.unacknowledged, reason)

    def _write_report(self, elapsed: float | None = None, *, finished: bool = False) -> None:
        report, sessions, counts = self.report, self.sessions, self.event_log.counts
        elapsed = elapsed or max(1e-9, time.monotonic() - self._started)
        counts.fill_report(report)
        report.updated, report.finished = datetime.now(UTC), finished
        report.exhausted = sessions.population.finished
        report.problem = self.event_log.producer.problem or counts.refusal
        report.sessions, report.sessions_recommended = sessions.started, sessions.recommended
        report.minutes_missing, report.minutes_repeated = sessions.minutes_missing, sessions.minutes_repeated
        report.records_per_second = round(report.acknowledged / elapsed, 1)
        report.requests_in_flight = len(self._requests)
        if self.client:
            report.requests = _status_texts(self.client.statuses)
            report.invalid_requests = _status_texts(self.client.invalid_statuses)
            report.invalid_responses = self.client.invalid_responses
            report.response_ms = self.client.response_times.summarize()
            report.requests_per_second = round(report.response_ms.count / elapsed, 1)
        if self.plan.report:
            report.write(self.plan.report)
        self._show(report)


def _status_texts(statuses: dict[int, int]) -> dict[str, int]:
    return {str(status): count for status, count in sorted(statuses.items())}
