"""``marquee local demo``: the whole system on MovieLens, live, watched, and accounted for at the end."""

from __future__ import annotations

import argparse
import csv
import math
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from marquee.db.pool import Database
from marquee.local.demo_summary import DemoOutcome, summary
from marquee.local.display import Display
from marquee.local.live_stats import LiveStats, LiveStatsCollector
from marquee.local.reconciliation import drained
from marquee.local.runner import running
from marquee.local.system import RETRAIN, LocalSystem
from marquee.registry.object_store.connect import connect
from marquee.simulate.report import SimulationReport

LOOK_EVERY_S = 1.0
# A retraining that is due in the demo's time is waited for so much longer, on a slow machine.
RETRAIN_PATIENCE_S = 60.0
# A demo that ends sooner after the schedule's first run is not held back for it.
RETRAIN_TAKES_S = 20.0
# In the middle of what real logs had: 0.04 to 0.11 %.
CORRUPT = 0.0008

_REPLAYED = "SELECT DISTINCT user_id, movie_id FROM ratings"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``marquee local demo``."""
    add = parser.add_argument
    add("--for", dest="seconds", type=float, metavar="SECONDS", help="stop after so long; else at Ctrl-C")
    add("--corrupt", type=float, default=CORRUPT, metavar="SHARE", help=f"of the lines spoilt ({CORRUPT})")
    add("--lines-per-second", type=float, default=1580.0, metavar="N", help="of the customers (1580)")
    add("--seed", type=int, default=1, help="of the customers' behaviour (1)")


def run(system: LocalSystem, console: Console, args: argparse.Namespace) -> int:
    """Start, replay, show, stop, account; 0 if nothing was lost, doubled or failed, else 1."""
    began = time.monotonic()
    with running(system.home, system):
        console.print(f"Up after {time.monotonic() - began:.0f} s. {urls(system)}", soft_wrap=True)
        since = datetime.now(UTC)
        outcome = Demo(system, console, args, since).run()
    console.print(summary(outcome), soft_wrap=True)
    return 0 if outcome.good else 1


def urls(system: LocalSystem) -> str:
    """What to try while it runs."""
    recommend, database = system.url("recommend"), system.settings.database_url
    marquee = f"{Path(sys.executable).parent / 'marquee'} local --home {system.home.directory}"
    return f"""Dashboards: {system.url("dashboards")}/
Try:
  curl {recommend}/recommend/1
  curl -H 'Accept: application/json' {recommend}/recommend/1
  curl {recommend}/version
  psql {database} -c 'TABLE lines_per_minute'
  {marquee} status
  {marquee} logs bridge -f
  eval "$({marquee} env)"   # where the parts are, for the other verbs of marquee: release list, retrain, ...
"""


class Demo:
    """One run of the simulator against a system that is up."""

    def __init__(
        self, system: LocalSystem, console: Console, args: argparse.Namespace, since: datetime
    ) -> None:
        self._system = system
        self._console = console
        self._args = args
        self._report = system.home.runs / "simulate.json"
        self._database = Database(system.settings.database_url)
        self._since = since

    def run(self) -> DemoOutcome:
        """Until the time is over or Ctrl-C; then let the stream drain, and account for it."""
        self._report.unlink(missing_ok=True)
        board = self._scoreboard()
        self._system.start_simulator(self._report, *self._words())
        try:
            self._watch(board)
            asked_for = self._args.seconds
        except KeyboardInterrupt:
            self._console.print("Stopping. Lines on their way are waited for; Ctrl-C again does not wait.")
            asked_for = (datetime.now(UTC) - self._since).total_seconds() - RETRAIN_PATIENCE_S
        self._system.supervisor.stop("simulator")
        return self._settle(board, self._retrain_due(asked_for))

    def _words(self) -> list[str]:
        args = self._args
        words = ["--lines-per-second", args.lines_per_second, "--corrupt", args.corrupt, "--seed", args.seed]
        words += ["--replayed", self._replayed()]
        return [str(word) for word in words]

    def _replayed(self) -> Path:
        """The ratings that earlier runs have replayed: this one goes on with the others."""
        path = self._system.home.runs / "replayed.csv"
        rows = self._database.read(_REPLAYED, deadline_ms=10_000)
        with path.open("w", newline="") as file:
            csv.writer(file).writerows([("user_id", "movie_id"), *rows])
        return path

    def _watch(self, board: LiveStatsCollector) -> None:
        with Display(self._console) as display:
            for score in self._scores(board):
                display.show(score, self._system.supervisor.states())

    def _scores(self, board: LiveStatsCollector) -> Iterator[LiveStats]:
        """A score a second, until the time is over and a retraining that was due in it has ended."""
        began = time.monotonic()
        while True:
            score = board.look()
            yield score
            over = time.monotonic() - began - (self._args.seconds or math.inf)
            if over >= 0 and (self._retrained(score) or over > RETRAIN_PATIENCE_S):
                return
            time.sleep(LOOK_EVERY_S)

    def _retrained(self, score: LiveStats) -> bool:
        """Whether a retraining has ended and the answers moved to its model, or none was due."""
        if not self._retrain_due(self._args.seconds):
            return True
        return bool(score.retrains) and set(score.serving) <= set(score.versions)

    def _retrain_due(self, seconds: float) -> bool:
        local = self._system.schedules[RETRAIN].local
        return local is not None and seconds >= local.first_s + RETRAIN_TAKES_S

    def _settle(self, board: LiveStatsCollector, retrain_due: bool) -> DemoOutcome:
        self._console.print("The simulator has stopped; waiting for the last lines ...")
        report = SimulationReport.read(self._report)
        account = drained(self._database, self._system.settings.kafka_topic, report.partitions)
        return DemoOutcome(board.look(), account, report, retrain_due)

    def _scoreboard(self) -> LiveStatsCollector:
        objects = connect(self._system.settings.objects_url)
        return LiveStatsCollector(self._report, self._database, objects, self._system.home, self._since)
