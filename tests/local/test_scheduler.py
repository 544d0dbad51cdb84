"""The scheduler: intervals, one run at a time, time limits, and no orphans."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import psutil
import pytest
from tests.local.programs import has_ended
from tests.support.waiting import wait_until

from marquee.config.settings import Settings
from marquee.errors import SettingsError
from marquee.local.infra_spec import LocalSchedule, ScheduleSpec
from marquee.local.process import Process
from marquee.local.scheduler import NICENESS, JobRunner, read_runs, schedule_trigger
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
StartScheduler = Callable[..., Process]


@pytest.fixture
def state_dir(tmp_path: Path) -> StateDir:
    state_dir = StateDir(tmp_path / "state")
    with state_dir.locked():
        return state_dir


@pytest.fixture
def start_scheduler(tmp_path: Path, state_dir: StateDir) -> Iterator[StartScheduler]:
    """A function that creates a project of one job and starts its scheduler."""
    started: list[Process] = []

    def start(code: str, every_s: float = 0.4, timeout_s: int = 60, **env: str) -> Process:
        (tmp_path / "infra").mkdir()
        (tmp_path / "infra/schedules.yaml").write_text(YAML.format(name="work", every_s=every_s, timeout_s=timeout_s))
        (tmp_path / "jobs/migrate").mkdir(parents=True)
        (tmp_path / "jobs/migrate/main.py").write_text(code)
        argv = [*MODULE, "--root", str(tmp_path), "--state-dir", str(state_dir.directory)]
        started.append(Process("scheduler", argv, state_dir.logs / "scheduler.log", env=env))
        started[-1].start()
        return started[-1]

    yield start
    for process in started:
        process.stop()


MODULE = [sys.executable, "-m", "marquee.local.scheduler"]


def test_scheduler_interval_runs_job_repeatedly(start_scheduler: StartScheduler, state_dir: StateDir) -> None:
    """Each run is recorded with its exit code."""
    start_scheduler("raise SystemExit(5)")
    wait_until(lambda: len(read_runs(state_dir, "work")) >= 3)
    runs = read_runs(state_dir, "work")
    assert {run.code for run in runs} == {5}
    assert all(run.started < run.finished for run in runs)


def test_scheduler_job_gets_its_settings_at_low_priority(start_scheduler: StartScheduler, state_dir: StateDir) -> None:
    """The job gets only the settings that its folder declares (config/needs.py), and runs at low priority."""
    code = "import os; print(sorted(k for k in os.environ if k.startswith('MARQUEE_')), os.nice(0), flush=True)"
    start_scheduler(code, MARQUEE_OBJECTS_URL="file:///x", MARQUEE_DATABASE_URL="postgresql://a:b@c/d")
    wait_until(lambda: bool(read_runs(state_dir, "work")))
    output = (state_dir.logs / "work.log").read_text().splitlines()[0]
    assert output == f"['MARQUEE_DATABASE_URL'] {min(os.nice(0) + NICENESS, 19)}"


def test_scheduler_long_run_is_not_overlapped(start_scheduler: StartScheduler, state_dir: StateDir) -> None:
    """The next run starts after the end of a run that is longer than the interval."""
    start_scheduler("import time; time.sleep(1)", every_s=0.2)
    wait_until(lambda: len(read_runs(state_dir, "work")) >= 2)
    first, second = read_runs(state_dir, "work")[:2]
    assert first.finished <= second.started


def test_scheduler_job_over_time_limit_is_stopped(start_scheduler: StartScheduler, state_dir: StateDir) -> None:
    """The job is stopped at its time limit, and the run has the code of the signal."""
    start_scheduler("import time; time.sleep(100)", timeout_s=1)
    wait_until(lambda: bool(read_runs(state_dir, "work")))
    assert read_runs(state_dir, "work")[0].code == -signal.SIGTERM


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGKILL])
def test_scheduler_ended_leaves_no_job(
    start_scheduler: StartScheduler, state_dir: StateDir, sig: signal.Signals
) -> None:
    """The running job ends with the scheduler, whatever the signal."""
    process = start_scheduler("import os, time; print(os.getpid(), flush=True); time.sleep(100)")
    log = state_dir.logs / "work.log"
    wait_until(lambda: log.exists() and log.read_text().strip().isdigit())
    job = psutil.Process(int(log.read_text()))
    os.kill(process.pid or 0, sig)
    wait_until(lambda: has_ended(job) and process.pid is None)


def test_schedule_trigger_without_local_interval_uses_cron() -> None:
    """The cron line is that of the cloud, in its time zone."""
    schedule = ScheduleSpec("A job.", "jobs/migrate", "15 4 * * sun", "America/New_York", 60)
    monday = datetime(2026, 1, 5, tzinfo=UTC)
    fire_time = schedule_trigger(schedule, monday).get_next_fire_time(None, monday)
    assert fire_time == datetime(2026, 1, 11, 9, 15, tzinfo=UTC)


def test_schedule_trigger_local_interval_starts_with_first_run() -> None:
    """The first run is after ``first_s``, the next ones after ``every_s`` each."""
    schedule = ScheduleSpec("A job.", "jobs/migrate", "15 4 * * *", "UTC", 60, LocalSchedule(20, 120))
    now = datetime(2026, 1, 5, tzinfo=UTC)
    first = schedule_trigger(schedule, now).get_next_fire_time(None, now)
    assert first == now + timedelta(seconds=20)
    assert schedule_trigger(schedule, now).get_next_fire_time(first, first) == now + timedelta(seconds=140)


def create_handler(status: int, requests: list[str]) -> type[BaseHTTPRequestHandler]:
    """Return a handler that records the path of each POST and responds with ``status``."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            requests.append(self.path)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(b"the response")

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    return Handler


FUNCTION_CALL = ScheduleSpec("A function.", "functions/look", "*/5 * * * *", "UTC", 5)


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1)])
def test_job_runner_calls_function_by_post(
    tmp_path: Path, state_dir: StateDir, status: int, code: int, caplog: pytest.LogCaptureFixture
) -> None:
    """The run is recorded, and the response is in the scheduler's log."""
    requests: list[str] = []
    with HTTPServer(("127.0.0.1", 0), create_handler(status, requests)) as server, caplog.at_level("INFO"):
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        JobRunner(tmp_path, state_dir, Settings(), {"look": f"http://127.0.0.1:{server.server_port}/"}).run(
            "look", FUNCTION_CALL
        )
        thread.join()
    assert ([run.code for run in read_runs(state_dir, "look")], requests) == ([code], ["/"])
    assert "the response" in caplog.text


def test_job_runner_unavailable_function_is_a_failed_run(tmp_path: Path, state_dir: StateDir) -> None:
    """A call without a response has code 1."""
    JobRunner(tmp_path, state_dir, Settings(), {"look": "http://127.0.0.1:1/"}).run("look", FUNCTION_CALL)
    assert [run.code for run in read_runs(state_dir, "look")] == [1]


def test_check_urls_function_without_url_is_refused(tmp_path: Path, state_dir: StateDir) -> None:
    """The error names the function and the option."""
    jobs = JobRunner(tmp_path, state_dir, Settings(), {"other": "http://127.0.0.1:1"})
    with pytest.raises(SettingsError, match="no URL for look: give --function"):
        jobs.check_urls({"look": FUNCTION_CALL})
    jobs.check_urls({})


def test_job_runner_job_gets_its_arguments(tmp_path: Path, state_dir: StateDir) -> None:
    """The arguments of the schedule are those of the job's command."""
    (tmp_path / "jobs/migrate").mkdir(parents=True)
    (tmp_path / "jobs/migrate/main.py").write_text("import sys; raise SystemExit(sys.argv[1:] != ['--if-requested'])")
    schedule = ScheduleSpec("A job.", "jobs/migrate", "15 4 * * *", "UTC", 60, arguments=("--if-requested",))
    JobRunner(tmp_path, state_dir, Settings()).run("work", schedule)
    assert [run.code for run in read_runs(state_dir, "work")] == [0]


def test_job_runner_job_has_its_own_database(tmp_path: Path, state_dir: StateDir) -> None:
    """Each job has the login of its role; one without has the database of the settings."""
    (tmp_path / "jobs/migrate").mkdir(parents=True)
    code = "import os; print(os.environ['MARQUEE_DATABASE_URL'])"
    (tmp_path / "jobs/migrate/main.py").write_text(code)
    settings = Settings(database_url="postgresql://owner@h/d")
    for databases in ({"migrate": "postgresql://job@h/d"}, {"other": "postgresql://other@h/d"}):
        jobs = JobRunner(tmp_path, state_dir, settings, databases=databases)
        jobs.run("work", ScheduleSpec("A job.", "jobs/migrate", "15 4 * * *", "UTC", 60))
    assert (state_dir.logs / "work.log").read_text().split() == ["postgresql://job@h/d", "postgresql://owner@h/d"]


def test_job_runner_stopped_ends_a_starting_job(tmp_path: Path, state_dir: StateDir) -> None:
    """A job that starts while the scheduler stops is stopped too."""
    (tmp_path / "jobs/migrate").mkdir(parents=True)
    (tmp_path / "jobs/migrate/main.py").write_text("import time; time.sleep(100)")
    jobs = JobRunner(tmp_path, state_dir, Settings())
    jobs.stop()
    jobs.run("work", ScheduleSpec("A job.", "jobs/migrate", "15 4 * * *", "UTC", 60))
    assert read_runs(state_dir, "work")[0].code == -signal.SIGTERM


def test_read_runs_line_that_a_kill_has_cut_is_left_out(state_dir: StateDir) -> None:
    """A torn line costs neither the others nor the status."""
    whole = b'{"started":"2026-11-30T12:00:00Z","finished":"2026-11-30T12:00:01Z","code":0}\n'
    (state_dir.runs / "work.jsonl").write_bytes(whole + whole[:40] + b"\n\xff\n" + whole)
    assert [run.code for run in read_runs(state_dir, "work")] == [0, 0]
