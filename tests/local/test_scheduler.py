"""The scheduler runs jobs by the clock, one at a time each, and leaves none behind."""

import os
import signal
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import psutil
import pytest
from tests.local.programs import gone, wait_for

from marquee.config.settings import Settings
from marquee.errors import SettingsError
from marquee.local.infra_spec import LocalSchedule, ScheduleSpec
from marquee.local.process import Process
from marquee.local.scheduler import NICENESS, JobRunner, read_runs, trigger
from marquee.local.state_dir import StateDir

YAML = """
schedules:
  {name}:
    text: A job.
    job: jobs/migrate
    cron: "15 4 * * sun"
    zone: UTC
    timeout_s: {timeout_s}
    local: {{first_s: 0.2, every_s: {every_s}}}
"""
MakeScheduler = Callable[..., Process]


@pytest.fixture
def home(tmp_path: Path) -> StateDir:
    home = StateDir(tmp_path / "home")
    with home.held():
        return home


@pytest.fixture
def scheduler(tmp_path: Path, home: StateDir):  # type: ignore[no-untyped-def]
    """Makes a project of one job and starts its scheduler."""
    started: list[Process] = []

    def start(code: str, every_s: float = 0.4, timeout_s: int = 60, **env: str) -> Process:
        (tmp_path / "infra").mkdir()
        (tmp_path / "infra/schedules.yaml").write_text(
            YAML.format(name="work", every_s=every_s, timeout_s=timeout_s)
        )
        (tmp_path / "jobs/migrate").mkdir(parents=True)
        (tmp_path / "jobs/migrate/main.py").write_text(code)
        argv = [*MODULE, "--root", str(tmp_path), "--home", str(home.directory)]
        started.append(Process("scheduler", argv, home.logs / "scheduler.log", env=env))
        started[-1].start()
        return started[-1]

    yield start
    for process in started:
        process.stop()


MODULE = [sys.executable, "-m", "marquee.local.scheduler"]


def test_runs_again_and_again(scheduler: MakeScheduler, home: StateDir) -> None:
    """The job runs on its interval; each run is recorded with its exit code."""
    scheduler("raise SystemExit(5)")
    wait_for(lambda: len(read_runs(home, "work")) >= 3)
    runs = read_runs(home, "work")
    assert {run.code for run in runs} == {5}
    assert all(run.started < run.finished for run in runs)


def test_a_job_gets_what_it_needs_at_low_priority(scheduler: MakeScheduler, home: StateDir) -> None:
    """The settings that its folder declares (config/needs.py), no others; and a niceness that yields to the answers."""
    code = (
        "import os; print(sorted(k for k in os.environ if k.startswith('MARQUEE_')), os.nice(0), flush=True)"
    )
    scheduler(code, MARQUEE_OBJECTS_URL="file:///x", MARQUEE_DATABASE_URL="postgresql://a:b@c/d")
    wait_for(lambda: bool(read_runs(home, "work")))
    said = (home.logs / "work.log").read_text().splitlines()[0]
    assert said == f"['MARQUEE_DATABASE_URL'] {min(os.nice(0) + NICENESS, 19)}"


def test_one_at_a_time(scheduler: MakeScheduler, home: StateDir) -> None:
    """A run that takes longer than the interval is waited for, not overtaken."""
    scheduler("import time; time.sleep(1)", every_s=0.2)
    wait_for(lambda: len(read_runs(home, "work")) >= 2)
    first, second = read_runs(home, "work")[:2]
    assert first.finished <= second.started


def test_a_job_that_takes_too_long_is_ended(scheduler: MakeScheduler, home: StateDir) -> None:
    """At its timeout it is stopped, and recorded as such."""
    scheduler("import time; time.sleep(100)", timeout_s=1)
    wait_for(lambda: bool(read_runs(home, "work")))
    assert read_runs(home, "work")[0].code == -signal.SIGTERM


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGKILL])
def test_no_job_is_left_behind(scheduler: MakeScheduler, home: StateDir, sig: signal.Signals) -> None:
    """The scheduler ends, politely or not: so does the job that it runs."""
    process = scheduler("import os, time; print(os.getpid(), flush=True); time.sleep(100)")
    log = home.logs / "work.log"
    wait_for(lambda: log.exists() and log.read_text().strip().isdigit())
    job = psutil.Process(int(log.read_text()))
    os.kill(process.pid or 0, sig)
    wait_for(lambda: gone(job) and process.pid is None)


def test_cron_holds_where_no_local_interval_is_given() -> None:
    """The same line as in the cloud, in its zone."""
    schedule = ScheduleSpec("A job.", "jobs/migrate", "15 4 * * sun", "America/New_York", 60)
    monday = datetime(2026, 1, 5, tzinfo=UTC)
    fires = trigger(schedule, monday).get_next_fire_time(None, monday)
    assert fires == datetime(2026, 1, 11, 9, 15, tzinfo=UTC)


def test_the_local_interval_begins_with_its_first_run() -> None:
    """First after ``first_s``, then each ``every_s``."""
    schedule = ScheduleSpec("A job.", "jobs/migrate", "15 4 * * *", "UTC", 60, LocalSchedule(20, 120))
    now = datetime(2026, 1, 5, tzinfo=UTC)
    first = trigger(schedule, now).get_next_fire_time(None, now)
    assert first == now + timedelta(seconds=20)
    assert trigger(schedule, now).get_next_fire_time(first, first) == now + timedelta(seconds=140)


class Called(BaseHTTPRequestHandler):
    """A function that answers each POST with what it is told, and notes it."""

    status, calls = 200, 0

    def do_POST(self) -> None:
        type(self).calls += 1
        self.send_response(self.status)
        self.end_headers()
        self.wfile.write(b"said")

    def log_message(self, *_: object) -> None:
        """Nothing on the console."""


CALL = ScheduleSpec("A function.", "functions/look", "*/5 * * * *", "UTC", 5)


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1)])
def test_a_function_is_called(
    tmp_path: Path, home: StateDir, status: int, code: int, caplog: pytest.LogCaptureFixture
) -> None:
    """By POST, where it was said to be; the run is recorded, and what it answered stands in our log."""
    handler = type("Handler", (Called,), {"status": status, "calls": 0})
    with HTTPServer(("127.0.0.1", 0), handler) as server, caplog.at_level("INFO"):
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        JobRunner(tmp_path, home, Settings(), {"look": f"http://127.0.0.1:{server.server_port}/"}).run(
            "look", CALL
        )
        thread.join()
    assert ([run.code for run in read_runs(home, "look")], handler.calls) == ([code], 1)
    assert "said" in caplog.text


def test_a_function_that_is_away_is_a_failed_run(tmp_path: Path, home: StateDir) -> None:
    JobRunner(tmp_path, home, Settings(), {"look": "http://127.0.0.1:1/"}).run("look", CALL)
    assert [run.code for run in read_runs(home, "look")] == [1]


def test_where_a_function_listens_has_to_be_said(tmp_path: Path, home: StateDir) -> None:
    jobs = JobRunner(tmp_path, home, Settings(), {"other": "http://127.0.0.1:1"})
    with pytest.raises(SettingsError, match="where is look"):
        jobs.check({"look": CALL})
    jobs.check({})


def test_a_job_gets_its_arguments(tmp_path: Path, home: StateDir) -> None:
    (tmp_path / "jobs/migrate").mkdir(parents=True)
    (tmp_path / "jobs/migrate/main.py").write_text(
        "import sys; raise SystemExit(sys.argv[1:] != ['--if-requested'])"
    )
    schedule = ScheduleSpec("A job.", "jobs/migrate", "15 4 * * *", "UTC", 60, arguments=("--if-requested",))
    JobRunner(tmp_path, home, Settings()).run("work", schedule)
    assert [run.code for run in read_runs(home, "work")] == [0]


def test_nothing_starts_once_stopping(tmp_path: Path, home: StateDir) -> None:
    """A job that comes up while the scheduler ends is ended too."""
    (tmp_path / "jobs/migrate").mkdir(parents=True)
    (tmp_path / "jobs/migrate/main.py").write_text("import time; time.sleep(100)")
    jobs = JobRunner(tmp_path, home, Settings())
    jobs.stop()
    jobs.run("work", ScheduleSpec("A job.", "jobs/migrate", "15 4 * * *", "UTC", 60))
    assert read_runs(home, "work")[0].code == -signal.SIGTERM
