"""The local scheduler: a process that runs the jobs of ``infra/schedules.yaml`` by the clock.

In the cloud the same file makes Cloud Scheduler start Cloud Run jobs. Jobs run at low priority: on
a small machine the answers come first.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
from apscheduler.schedulers.blocking import BlockingScheduler
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger

from marquee.local.described import Schedule, read_schedules
from marquee.local.home import Home
from marquee.local.process import Process
from marquee.settings import Settings

log = logging.getLogger("marquee.local.scheduler")

NICENESS = 10
# One thread of arithmetic: a job that uses every core would make the answers late however nice it is.
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")


class Run(msgspec.Struct, frozen=True):
    """One run of a job, a line of ``runs/<schedule>.jsonl``. ``code`` is its exit code."""

    started: datetime
    finished: datetime
    code: int


def read_runs(home: Home, schedule: str) -> list[Run]:
    """All runs that have ended, the oldest first."""
    try:
        lines = (home.runs / f"{schedule}.jsonl").read_bytes().splitlines()
    except FileNotFoundError:
        return []
    return [msgspec.json.decode(line, type=Run) for line in lines]


class Jobs:
    """Runs jobs as processes, and ends those that run when we end."""

    def __init__(self, root: Path, home: Home, settings: Settings) -> None:
        self._root = root
        self._home = home
        self._settings = settings
        self._running: list[Process] = []
        self._stopping = False

    def run(self, name: str, schedule: Schedule) -> None:
        """Run the job to its end, or to its timeout; its output goes to ``logs/<name>.log``."""
        job = Process(
            name,
            [sys.executable, str(self._root / schedule.job / "main.py")],
            self._home.logs / f"{name}.log",
            env={**self._settings.environment(schedule.needs), **ONE_THREAD},
            cwd=self._root,
            niceness=NICENESS,
        )
        started = datetime.now(UTC)
        self._running.append(job)
        try:
            job.start()
            if self._stopping:
                job.stop()
            job.wait(schedule.timeout_s)
        except subprocess.TimeoutExpired:
            log.error("%s took longer than %d s and is ended", name, schedule.timeout_s)
        finally:
            job.stop()
            self._running.remove(job)
            self._record(name, Run(started, datetime.now(UTC), _code(job)))

    def stop(self) -> None:
        """End what runs, and what is about to."""
        self._stopping = True
        for job in list(self._running):
            job.stop()

    def _record(self, name: str, run: Run) -> None:
        log.info("%s ended with code %d after %s", name, run.code, run.finished - run.started)
        with (self._home.runs / f"{name}.jsonl").open("ab") as runs:
            runs.write(msgspec.json.encode(run) + b"\n")


def _code(job: Process) -> int:
    return -1 if job.returncode is None else job.returncode


def trigger(schedule: Schedule, now: datetime) -> CronTrigger | IntervalTrigger:
    """When it runs here: its local interval, or else its cron line."""
    local = schedule.local
    if local is None:
        return CronTrigger.from_crontab(schedule.cron, timezone=schedule.zone)
    first = now + timedelta(seconds=local.first_s)
    return IntervalTrigger(seconds=local.every_s, start_date=first, timezone=UTC)


def run(schedules: Mapping[str, Schedule], jobs: Jobs) -> None:
    """Run the schedules until SIGTERM or SIGINT; one run of each at a time, missed ones once."""
    clock = BlockingScheduler(timezone=UTC)
    for name, schedule in schedules.items():
        clock.add_job(
            jobs.run,
            trigger(schedule, datetime.now(UTC)),
            args=(name, schedule),
            max_instances=1,
            coalesce=True,
            misfire_grace_time=None,
        )
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        clock.start()
    except KeyboardInterrupt:
        jobs.stop()
        clock.shutdown()


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


def main(argv: Sequence[str] | None = None) -> None:
    """The scheduler's process."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, required=True, help="the project's folder")
    parser.add_argument("--home", type=Path, required=True, help="where logs and runs are kept")
    args = parser.parse_args(argv)
    settings = Settings.from_mapping(os.environ)
    logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    run(read_schedules(args.root), Jobs(args.root, Home(args.home), settings))


if __name__ == "__main__":
    main()
