"""The local scheduler: a process that runs what is in ``infra/schedules.yaml`` by the clock.

In the cloud the same file makes Cloud Scheduler start Cloud Run jobs and call functions. Jobs run at low
priority: on a small machine the answers come first.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
from apscheduler.schedulers.blocking import BlockingScheduler
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger

from marquee.config.settings import Settings
from marquee.errors import SettingsError
from marquee.local.infra_spec import ScheduleSpec, read_schedules
from marquee.local.process import Process
from marquee.local.state_dir import StateDir

log = logging.getLogger("marquee.local.scheduler")

NICENESS = 10
# One thread of arithmetic: a job that uses every core would make the answers late however nice it is.
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")


class JobRun(msgspec.Struct, frozen=True):
    """One run, a line of ``runs/<schedule>.jsonl``. ``code``: a job's exit code; 0 or 1 of a function's call."""

    started: datetime
    finished: datetime
    code: int


def read_runs(home: StateDir, schedule: str) -> list[JobRun]:
    """All runs that have ended, the oldest first."""
    try:
        lines = (home.runs / f"{schedule}.jsonl").read_bytes().splitlines()
    except FileNotFoundError:
        return []
    return [msgspec.json.decode(line, type=JobRun) for line in lines]


class JobRunner:
    """Runs jobs as processes, and ends those that run when we end; calls functions at their ``urls``, by name."""

    def __init__(
        self, root: Path, home: StateDir, settings: Settings, urls: Mapping[str, str] | None = None
    ) -> None:
        self._root = root
        self._home = home
        self._settings = settings
        self._urls = urls or {}
        self._running: list[Process] = []
        self._stopping = False

    def check(self, schedules: Mapping[str, ScheduleSpec]) -> None:
        """Raise :class:`SettingsError` if a function is to be called and nobody said where it listens."""
        called = {schedule.function for schedule in schedules.values() if schedule.function}
        if missing := called - set(self._urls):
            raise SettingsError(f"where is {', '.join(sorted(missing))}? Say so: --function NAME=URL")

    def run(self, name: str, schedule: ScheduleSpec) -> None:
        """Run the job, or call the function, to its end or its timeout."""
        if schedule.function:
            self._call(name, self._urls[schedule.function], schedule.timeout_s)
        else:
            self._run(name, schedule)

    def _call(self, name: str, url: str, timeout_s: float) -> None:
        """What it says goes to our own log; what it logs is in the function's."""
        started = datetime.now(UTC)
        request = urllib.request.Request(url, b"", method="POST")
        try:
            with urllib.request.urlopen(request, timeout=timeout_s) as answer:
                code, text = 0, answer.read().decode()
        except urllib.error.HTTPError as error:
            code, text = 1, f"status {error.code}: {error.read().decode()}"
        except OSError as error:
            code, text = 1, f"{url} does not answer: {error}"
        log.log(logging.ERROR if code else logging.INFO, "%s: %s", name, text.strip())
        self._record(name, JobRun(started, datetime.now(UTC), code))

    def _run(self, name: str, schedule: ScheduleSpec) -> None:
        """A process; its output goes to ``logs/<name>.log``."""
        job = Process(
            name,
            [sys.executable, str(self._root / schedule.job / "main.py"), *schedule.arguments],
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
            self._record(name, JobRun(started, datetime.now(UTC), _code(job)))

    def stop(self) -> None:
        """End what runs, and what is about to."""
        self._stopping = True
        for job in list(self._running):
            job.stop()

    def _record(self, name: str, run: JobRun) -> None:
        log.info("%s ended with code %d after %s", name, run.code, run.finished - run.started)
        with (self._home.runs / f"{name}.jsonl").open("ab") as runs:
            runs.write(msgspec.json.encode(run) + b"\n")


def _code(job: Process) -> int:
    return -1 if job.returncode is None else job.returncode


def trigger(schedule: ScheduleSpec, now: datetime) -> CronTrigger | IntervalTrigger:
    """When it runs here: its local interval, or else its cron line."""
    local = schedule.local
    if local is None:
        return CronTrigger.from_crontab(schedule.cron, timezone=schedule.zone)
    first = now + timedelta(seconds=local.first_s)
    return IntervalTrigger(seconds=local.every_s, start_date=first, timezone=UTC)


def run(schedules: Mapping[str, ScheduleSpec], jobs: JobRunner) -> None:
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
    parser.add_argument(
        "--function",
        action="append",
        default=[],
        type=_name_and_url,
        metavar="NAME=URL",
        help="where a function listens that a schedule calls",
    )
    args = parser.parse_args(argv)
    settings = Settings.from_mapping(os.environ)
    logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    schedules = read_schedules(args.root)
    jobs = JobRunner(args.root, StateDir(args.home), settings, dict(args.function))
    try:
        jobs.check(schedules)
    except SettingsError as error:
        parser.error(str(error))
    run(schedules, jobs)


def _name_and_url(text: str) -> tuple[str, str]:
    name, equals, url = text.partition("=")
    if not (name and equals and url.startswith("http")):
        raise argparse.ArgumentTypeError(f"{text!r} should be as monitor=http://127.0.0.1:8083")
    return name, url


if __name__ == "__main__":
    main()
