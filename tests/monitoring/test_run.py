"""Tasks fail alone, one run is at work at a time, and a run that is killed leaves the way free."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.local.programs import wait_for
from tests.support.records import rows

from marquee.cli.main import main
from marquee.config.settings import Settings
from marquee.db.pool import Database
from marquee.errors import DatabaseUnavailable, ObjectStoreUnavailable
from marquee.monitoring.run import RunSummary, Task, run_monitor
from marquee.monitoring.tasks import tasks
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


def raising(error: Exception) -> Task:
    def fail(*_: object) -> int:
        raise error

    return Task("failing", fail)


THREE = Task("three", lambda database, store, now: 3)


def test_each_task_fails_alone(database: Database, store: ObjectStore) -> None:
    summary = run_monitor(database, store, [raising(ValueError("no")), THREE], clock=lambda: NOW)
    assert [(done.task, done.rows, done.error) for done in summary.tasks] == [
        ("failing", 0, "ValueError: no"),
        ("three", 3, ""),
    ]
    assert (summary.ran, summary.failed, summary.transient) == (True, True, False)
    assert rows(database, "SELECT time, task, rows, error FROM monitor_runs ORDER BY task") == [
        (NOW, "failing", 0, "ValueError: no"),
        (NOW, "three", 3, ""),
    ]


def test_what_may_go_well_later_is_told_apart(database: Database, store: ObjectStore) -> None:
    away = raising(ObjectStoreUnavailable("away"))
    assert run_monitor(database, store, [away, THREE]).transient
    assert not run_monitor(database, store, [THREE]).failed


def test_two_at_once_are_one(database: Database, store: ObjectStore, database_url: str) -> None:
    """The second finds the first at work and leaves it to that; afterwards the way is free."""
    inside, leave = threading.Event(), threading.Event()

    def wait(*_: object) -> int:
        inside.set()
        assert leave.wait(30)
        return 1

    summaries: list[RunSummary] = []
    first = threading.Thread(
        target=lambda: summaries.append(run_monitor(database, store, [Task("slow", wait)]))
    )
    first.start()
    assert inside.wait(30)
    with closing(Database(database_url, connections=2)) as other:
        assert not run_monitor(other, store, [THREE]).ran
        leave.set()
        first.join()
        assert run_monitor(other, store, [THREE]).ran
    assert [summary.ran for summary in summaries] == [True]


KILLED = """
import sys, time
from marquee.registry.object_store.file_store import FileStore
from marquee.monitoring.run import Task, run_monitor
from marquee.db.pool import Database

def stay(*_):
    print("inside", flush=True)
    time.sleep(100)

run_monitor(Database(sys.argv[1], connections=2), FileStore(sys.argv[2]), [Task("stay", stay)])
"""


def test_a_run_that_is_killed_holds_nobody_up(
    database: Database, store: ObjectStore, database_url: str, tmp_path: Path
) -> None:
    """Its lock goes with its connection."""
    killed = subprocess.Popen(
        [sys.executable, "-c", KILLED, database_url, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert killed.stdout is not None
    with killed.stdout as said:
        assert said.readline() == "inside\n"
        assert not run_monitor(database, store, [THREE]).ran
        killed.send_signal(signal.SIGKILL)
        killed.wait()
    wait_for(lambda: run_monitor(database, store, [THREE]).ran)


def test_without_a_database_it_is_an_error(store: ObjectStore) -> None:
    away = Database("postgresql://app@127.0.0.1:1/nowhere", connections=2)
    with pytest.raises(DatabaseUnavailable):
        run_monitor(away, store, [THREE])


def test_every_task_does_on_an_empty_system(database: Database, store: ObjectStore) -> None:
    """No line, no release: nothing to do is no error."""
    summary = run_monitor(database, store, tasks(store, Settings()))
    assert [done.task for done in summary.tasks] == [
        "predictions",
        "live_accuracy",
        "availability",
        "quality_checks",
        "impression_outcomes",
    ]
    assert not summary.failed


def test_the_verb(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MARQUEE_DATABASE_URL", database_url)
    monkeypatch.setenv("MARQUEE_OBJECTS_URL", tmp_path.as_uri())
    assert main(["monitor", "--only", "quality_checks"]) == 0
    assert capsys.readouterr().out.split()[:2] == ["quality_checks", "12"]
    assert main(["monitor", "--only", "nonsense"]) == 2
    assert "it should be one of predictions, " in capsys.readouterr().out
