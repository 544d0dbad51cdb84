"""Runs of the monitor: isolated failures, one run at a time, and release of the lock after a kill."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.support.records import rows
from tests.support.waiting import wait_until

from marquee.cli.main import main
from marquee.config.settings import Settings
from marquee.db.pool import Database
from marquee.errors import DatabaseUnavailable, ObjectStoreUnavailable
from marquee.monitoring.run import RunSummary, Task, run_monitor
from marquee.monitoring.tasks import create_tasks
from marquee.registry.object_store.file_store import FileStore
from marquee.registry.object_store.object_store import ObjectStore

pytestmark = pytest.mark.servers
NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    with closing(Database(database_url, connections=2)) as database:
        yield database


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    return FileStore(tmp_path / "objects")


def create_failing_task(error: Exception) -> Task:
    """Return a task that raises ``error``."""

    def fail(*_: object) -> int:
        raise error

    return Task("failing", fail)


THREE_ROWS = Task("three", lambda database, store, now: 3)


def test_run_monitor_failing_task_does_not_stop_others(database: Database, store: ObjectStore) -> None:
    """The failure is in the summary and in the table."""
    summary = run_monitor(database, store, [create_failing_task(ValueError("no")), THREE_ROWS], clock=lambda: NOW)
    assert [(result.task, result.rows, result.error) for result in summary.tasks] == [
        ("failing", 0, "ValueError: no"),
        ("three", 3, ""),
    ]
    assert (summary.ran, summary.failed, summary.transient) == (True, True, False)
    assert rows(database, "SELECT time, task, rows, error FROM monitor_runs ORDER BY task") == [
        (NOW, "failing", 0, "ValueError: no"),
        (NOW, "three", 3, ""),
    ]


def test_run_monitor_transient_failure_is_marked(database: Database, store: ObjectStore) -> None:
    """A summary is transient if all failures are."""
    unavailable = create_failing_task(ObjectStoreUnavailable("unavailable"))
    assert run_monitor(database, store, [unavailable, THREE_ROWS]).transient
    assert not run_monitor(database, store, [THREE_ROWS]).failed


def test_run_monitor_second_run_at_once_does_nothing(database: Database, store: ObjectStore, database_url: str) -> None:
    """While a run holds the lock another one returns at once. Afterwards it runs."""
    started, finish = threading.Event(), threading.Event()

    def wait(*_: object) -> int:
        started.set()
        assert finish.wait(30)
        return 1

    summaries: list[RunSummary] = []
    first = threading.Thread(target=lambda: summaries.append(run_monitor(database, store, [Task("slow", wait)])))
    first.start()
    assert started.wait(30)
    with closing(Database(database_url, connections=2)) as other:
        assert not run_monitor(other, store, [THREE_ROWS]).ran
        finish.set()
        first.join()
        assert run_monitor(other, store, [THREE_ROWS]).ran
    assert [summary.ran for summary in summaries] == [True]


SLEEPING_RUN = """
import sys, time
from marquee.registry.object_store.file_store import FileStore
from marquee.monitoring.run import Task, run_monitor
from marquee.db.pool import Database

def sleep(*_):
    print("inside", flush=True)
    time.sleep(100)

run_monitor(Database(sys.argv[1], connections=2), FileStore(sys.argv[2]), [Task("sleep", sleep)])
"""


def test_run_monitor_killed_run_releases_lock(
    database: Database, store: ObjectStore, database_url: str, tmp_path: Path
) -> None:
    """The lock is released with the connection."""
    process = subprocess.Popen(
        [sys.executable, "-c", SLEEPING_RUN, database_url, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    with process.stdout as output:
        assert output.readline() == "inside\n"
        assert not run_monitor(database, store, [THREE_ROWS]).ran
        process.send_signal(signal.SIGKILL)
        process.wait()
    wait_until(lambda: run_monitor(database, store, [THREE_ROWS]).ran)


def test_run_monitor_without_database_raises(store: ObjectStore) -> None:
    """Without the lock no task is run."""
    unavailable = Database("postgresql://app@127.0.0.1:1/nowhere", connections=2)
    with pytest.raises(DatabaseUnavailable):
        run_monitor(unavailable, store, [THREE_ROWS])


def test_run_monitor_all_tasks_succeed_on_empty_system(database: Database, store: ObjectStore) -> None:
    """Without records and releases there is nothing to do, which is no error."""
    summary = run_monitor(database, store, create_tasks(store, Settings()))
    assert [result.task for result in summary.tasks] == [
        "predictions",
        "live_accuracy",
        "fairness",
        "rollups",
        "availability",
        "popular_movies",
        "quality_checks",
        "suspect_accounts",
        "experiments",
        "impression_outcomes",
    ]
    assert not summary.failed


def test_monitor_command_runs_one_task(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The summary has a line for the task. An unknown task is refused with the valid names."""
    monkeypatch.setenv("MARQUEE_DATABASE_URL", database_url)
    monkeypatch.setenv("MARQUEE_OBJECTS_URL", tmp_path.as_uri())
    assert main(["monitor", "--only", "quality_checks"]) == 0
    assert capsys.readouterr().out.splitlines()[1].split()[:2] == ["quality_checks", "14"]
    assert main(["monitor", "--only", "quality_checks", "--json"]) == 0
    assert [task["task"] for task in json.loads(capsys.readouterr().out)["tasks"]] == ["quality_checks"]
    assert main(["monitor", "--only", "nonsense"]) == 2
    assert "expected one of predictions, " in capsys.readouterr().out
