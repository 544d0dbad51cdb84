"""The local scheduler: a process that runs the schedules of ``infra/schedules.yaml``.

In the cloud, Cloud Scheduler starts Cloud Run jobs and calls functions by the same file. Local jobs run at low
priority, so that on a small machine recommendations stay fast.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
from apscheduler.schedulers.blocking import BlockingScheduler
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger

from marquee.config.http_client import HttpClient
from marquee.config.settings import Settings
from marquee.errors import RequestFailed, SettingsError
from marquee.local.infra_spec import ScheduleSpec, read_schedules
from marquee.local.process import Process
from marquee.local.state_dir import StateDir

log = logging.getLogger("marquee.local.scheduler")

NICENESS = 10
# One thread of arithmetic: a job on every core would delay recommendations at any nice value.
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")


class JobRun(msgspec.Struct, frozen=True):
    """One run, a line of ``runs/<schedule>.jsonl``.

    ``code`` is the exit code of a job, or 0 or 1 for the call of a function.
    """

    started: datetime
    finished: datetime
    code: int


def read_runs(state_dir: StateDir, schedule: str) -> list[JobRun]:
    """Return all completed runs of ``schedule``, the oldest first, without lines that a kill has cut."""
    runs = []
    try:
        lines = (state_dir.runs / f"{schedule}.jsonl").read_bytes().splitlines()
    except FileNotFoundError:
        return []
    for line in lines:
        try:
            runs.append(msgspec.json.decode(line, type=JobRun))
        except (msgspec.MsgspecError, UnicodeDecodeError):
            continue
    return runs


class JobRunner:
    """Runner of jobs as child processes, and of functions by calls to their ``urls`` by name.

    ``databases`` has the database's URL of each job; a job without one has that of ``settings``.
    """

    def __init__(
        self,
        root: Path,
        state_dir: StateDir,
        settings: Settings,
        urls: Mapping[str, str] | None = None,
        databases: Mapping[str, str] | None = None,
    ) -> None:
        self._root = root
        self._state_dir = state_dir
        self._settings = settings
        self._urls = urls or {}
        self._databases = databases or {}
        self._running: list[Process] = []
        self._stopping = False

    def check_urls(self, schedules: Mapping[str, ScheduleSpec]) -> None:
        """Raise :class:`SettingsError` if a scheduled function has no URL."""
        called = {schedule.function for schedule in schedules.values() if schedule.function}
        if missing := called - set(self._urls):
            raise SettingsError(f"no URL for {', '.join(sorted(missing))}: give --function NAME=URL")

    def run(self, name: str, schedule: ScheduleSpec) -> None:
        """Run the job, or call the function, until it ends or times out."""
        if schedule.function:
            self._call(name, self._urls[schedule.function], schedule.timeout_s)
        else:
            self._run(name, schedule)

    def _call(self, name: str, url: str, timeout_s: float) -> None:
        """Call the function; its response goes to the scheduler's log."""
        started = datetime.now(UTC)
        try:
            with closing(HttpClient(url, timeout_s=timeout_s)) as client:
                status, _, body = client.request("POST", body=b"")
            code, text = (0, "") if status == 200 else (1, f"status {status}: ")
            text += body.decode(errors="replace")
        except RequestFailed as error:
            code, text = 1, f"no response from {url}: {error}"
        log.log(logging.ERROR if code else logging.INFO, "%s: %s", name, text.strip())
        self._record(name, JobRun(started, datetime.now(UTC), code))

    def _run(self, name: str, schedule: ScheduleSpec) -> None:
        """Run the job as a process; its output goes to ``logs/<name>.log``."""
        database_url = self._databases.get(schedule.part, self._settings.database_url)
        settings = replace(self._settings, database_url=database_url)
        job = Process(
            name,
            [sys.executable, str(self._root / schedule.job / "main.py"), *schedule.arguments],
            self._state_dir.logs / f"{name}.log",
            env={**settings.environment(schedule.needs), **ONE_THREAD},
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
            log.error("%s exceeded its time limit of %d s and is stopped", name, schedule.timeout_s)
        finally:
            job.stop()
            self._running.remove(job)
            self._record(name, JobRun(started, datetime.now(UTC), _exit_code(job)))

    def stop(self) -> None:
        """Stop running jobs, and those that are about to start."""
        self._stopping = True
        for job in list(self._running):
            job.stop()

    def _record(self, name: str, run: JobRun) -> None:
        log.info("%s ended with code %d after %s", name, run.code, run.finished - run.started)
        with (self._state_dir.runs / f"{name}.jsonl").open("ab") as runs:
            runs.write(msgspec.json.encode(run) + b"\n")


def _exit_code(job: Process) -> int:
    return -1 if job.returncode is None else job.returncode


def schedule_trigger(schedule: ScheduleSpec, now: datetime) -> CronTrigger | IntervalTrigger:
    """Return the trigger of a schedule: its local interval, or its cron line if it has none."""
    local = schedule.local
    if local is None:
        return CronTrigger.from_crontab(schedule.cron, timezone=schedule.zone)
    first = now + timedelta(seconds=local.first_s)
    return IntervalTrigger(seconds=local.every_s, start_date=first, timezone=UTC)


def run_schedules(schedules: Mapping[str, ScheduleSpec], jobs: JobRunner) -> None:
    """Run the schedules until SIGTERM or SIGINT: one run of each at a time; missed runs are run once."""
    scheduler = BlockingScheduler(timezone=UTC)
    for name, schedule in schedules.items():
        scheduler.add_job(
            jobs.run,
            schedule_trigger(schedule, datetime.now(UTC)),
            args=(name, schedule),
            max_instances=1,
            coalesce=True,
            misfire_grace_time=None,
        )
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        scheduler.start()
    except KeyboardInterrupt:
        jobs.stop()
        scheduler.shutdown()


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


def main(argv: Sequence[str] | None = None) -> None:
    """Run the scheduler process."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, required=True, help="root folder of the project")
    parser.add_argument("--state-dir", type=Path, required=True, help="directory of logs and runs")
    parser.add_argument(
        "--function",
        action="append",
        default=[],
        type=_name_and_url,
        metavar="NAME=URL",
        help="URL of a scheduled function",
    )
    parser.add_argument(
        "--database",
        action="append",
        default=[],
        type=_name_and_url,
        metavar="JOB=URL",
        help="database of a job, with the login of its own role; without, MARQUEE_DATABASE_URL",
    )
    args = parser.parse_args(argv)
    settings = Settings.from_mapping(os.environ)
    logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    schedules = read_schedules(args.root)
    jobs = JobRunner(args.root, StateDir(args.state_dir), settings, dict(args.function), dict(args.database))
    try:
        jobs.check_urls(schedules)
    except SettingsError as error:
        parser.error(str(error))
    run_schedules(schedules, jobs)


def _name_and_url(text: str) -> tuple[str, str]:
    name, equals, url = text.partition("=")
    if not (name and equals and url.startswith(("http", "postgres"))):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=URL, such as monitor=http://127.0.0.1:8083")
    return name, url


if __name__ == "__main__":
    main()
