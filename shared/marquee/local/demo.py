"""``marquee local demo``: a live replay of MovieLens through the whole system, with a reconciliation at the end."""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from marquee.db.pool import Database
from marquee.local.demo_summary import DemoOutcome, format_summary
from marquee.local.display import DemoDisplay
from marquee.local.live_stats import LiveStats, LiveStatsCollector
from marquee.local.reconciliation import Reconciliation, reconcile_when_drained
from marquee.local.runner import running
from marquee.local.staged_canary import stage_bad_canary
from marquee.local.start_hints import format_hints
from marquee.local.system import RETRAIN, LocalSystem
from marquee.registry.object_store.connect import connect
from marquee.simulate.report import SimulationReport

COLLECT_INTERVAL_S = 1.0
# Additional time for a retraining that was due during the demo, on a slow machine.
RETRAIN_GRACE_S = 60.0
# The demo does not wait for a retraining that started later than this before its end.
RETRAIN_DURATION_S = 20.0
# Pause after a hand-over that missing records prevented.
HAND_OVER_RETRY_S = 300.0
# In the middle of the rates in real event logs: 0.04 to 0.11 %.
CORRUPT_FRACTION = 0.0008

_RATED = "SELECT DISTINCT user_id, movie_id FROM ratings"


@dataclass(frozen=True)
class DemoOptions:
    """The options of a demo."""

    duration_s: float | None = None
    """End after this time; None: at Ctrl-C."""
    records_per_second: float = 1580.0
    """Rate of the users' records."""
    corrupt: float = CORRUPT_FRACTION
    """Fraction of records to corrupt."""
    seed: int = 1
    """Random seed of the users' behavior."""
    bad_canary: bool = False
    """Release a bad model as a canary, which the monitor rolls back."""


def run(system: LocalSystem, console: Console, options: DemoOptions) -> int:
    """Run the demo; return 0 if no record was lost or duplicated and nothing failed, else 1."""
    started = time.monotonic()
    with running(system.state_dir, system):
        elapsed = time.monotonic() - started
        console.print(f"Started in {elapsed:.0f} s; Ctrl-C stops it. {format_hints(system)}\n", soft_wrap=True)
        outcome = Demo(system, console, options, datetime.now(UTC)).run()
    console.print(format_summary(outcome), soft_wrap=True)
    return 0 if outcome.successful else 1


class Demo:
    """One run of the simulator against a running system."""

    def __init__(self, system: LocalSystem, console: Console, options: DemoOptions, since: datetime) -> None:
        self._system = system
        self._console = console
        self._options = options
        self._report = system.state_dir.runs / "simulate.json"
        self._database = Database(system.settings.database_url)
        self._since = since
        self._topic_id = ""
        self._written = Reconciliation()
        self._may_hand_over_at = 0.0

    def run(self) -> DemoOutcome:
        """Run until the time limit or Ctrl-C, then wait for the last records and reconcile."""
        collector = self._create_collector()
        self._start_simulator()
        if self._options.bad_canary:
            staged = stage_bad_canary(connect(self._system.settings.objects_url))
            self._console.print(
                f"Staged a bad model as canary {staged.experiment}: the monitor rolls it back.\n"
                f"Watch it: {self._system.url('dashboards')}/d/marquee-experiments",
                soft_wrap=True,
            )
        try:
            self._display_stats(collector)
            duration_s = self._options.duration_s or 0.0
        except KeyboardInterrupt:
            self._console.print("Stopping. Waiting for records in flight; press Ctrl-C again to skip.")
            duration_s = (datetime.now(UTC) - self._since).total_seconds() - RETRAIN_GRACE_S
        self._system.supervisor.stop("simulator")
        return self._reconcile(collector, self._is_retrain_due(duration_s))

    def _start_simulator(self) -> None:
        self._report.unlink(missing_ok=True)
        # If the broker in memory is killed, the next topic of this name has another id.
        self._topic_id = self._system.topic_id()
        self._system.start_simulator(self._report, *self._simulator_arguments())

    def _may_hand_over(self) -> bool:
        return self._report.exists() and time.monotonic() >= self._may_hand_over_at

    def _hand_over(self, collector: LiveStatsCollector) -> None:
        """Replace Kafka's topic by an empty one, if all its records are written, and continue the simulation."""
        self._console.print("Kafka's memory is full: the simulator pauses until everything is written.")
        self._system.supervisor.stop("simulator")
        report = SimulationReport.read(self._report)
        written = reconcile_when_drained(self._database, self._topic_id, report.partitions)
        self._written += written
        collector.earlier = report.with_earlier(collector.earlier)
        if written.exact:
            self._system.hand_over()
        else:
            self._may_hand_over_at = time.monotonic() + HAND_OVER_RETRY_S
            self._console.print("Records are missing: the topic stays.")
        self._start_simulator()

    def _simulator_arguments(self) -> list[str]:
        options = self._options
        arguments = ["--records-per-second", options.records_per_second, "--corrupt", options.corrupt]
        arguments += ["--seed", options.seed, "--replayed", self._write_replayed()]
        return [str(argument) for argument in arguments]

    def _write_replayed(self) -> Path:
        """Write the ratings that earlier runs have replayed, so that this run continues after them."""
        path = self._system.state_dir.runs / "replayed.csv"
        rows = self._database.read(_RATED, deadline_ms=10_000)
        with path.open("w", newline="") as file:
            csv.writer(file).writerows([("user_id", "movie_id"), *rows])
        return path

    def _display_stats(self, collector: LiveStatsCollector) -> None:
        with DemoDisplay(self._console) as display:
            for stats in self._collect_stats(collector):
                display.show(stats, self._system.supervisor.states())

    def _collect_stats(self, collector: LiveStatsCollector) -> Iterator[LiveStats]:
        """Yield statistics once a second until the time limit, and until a retraining that was due has ended."""
        started, duration_s = time.monotonic(), self._options.duration_s or math.inf
        while True:
            stats = collector.collect()
            yield stats
            overtime = time.monotonic() - started - duration_s
            if self._may_hand_over() and self._system.is_kafka_full():
                self._hand_over(collector)
            if overtime >= 0 and (self._is_retrained(stats, duration_s) or overtime > RETRAIN_GRACE_S):
                return
            time.sleep(COLLECT_INTERVAL_S)

    def _is_retrained(self, stats: LiveStats, duration_s: float) -> bool:
        """Return True if a retraining has ended and its model serves, or if none was due."""
        if not self._is_retrain_due(duration_s):
            return True
        return bool(stats.retrains) and set(stats.serving) <= set(stats.versions)

    def _is_retrain_due(self, duration_s: float) -> bool:
        local = self._system.schedules[RETRAIN].local
        return local is not None and duration_s >= local.first_s + RETRAIN_DURATION_S

    def _reconcile(self, collector: LiveStatsCollector, retrain_due: bool) -> DemoOutcome:
        self._console.print("The simulator has stopped; waiting for the last records ...")
        last = self._read_last_report(is_first=collector.earlier is None)
        reconciliation = self._written + reconcile_when_drained(self._database, self._topic_id, last.partitions)
        report = last.with_earlier(collector.earlier)
        in_memory, losses = not self._system.shape.durable_kafka, self._system.kafka_restarts
        return DemoOutcome(collector.collect(), reconciliation, report, retrain_due, in_memory, losses)

    def _read_last_report(self, *, is_first: bool) -> SimulationReport:
        """Return the last report; an empty one of a simulator that ended before its first."""
        try:
            return SimulationReport.read(self._report)
        except FileNotFoundError:
            now = datetime.now(UTC)
            # After a hand-over nothing is missing: the simulator that ended had not begun.
            return SimulationReport("replay", self._options.seed, now, now, finished=not is_first)

    def _create_collector(self) -> LiveStatsCollector:
        objects = connect(self._system.settings.objects_url)
        return LiveStatsCollector(self._report, self._database, objects, self._system.state_dir, self._since)
