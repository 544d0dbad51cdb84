"""Tests of the bridge's supervisor: a crash of the client in native code loses and doubles nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from confluent_kafka.admin import AdminClient
from tests.bridge.bridge_harness import PARTITIONS, BridgeHarness, numbered_records, separate_harness
from tests.bridge.test_consumer_topics import records_by_topic_id
from tests.support.waiting import wait_until

from marquee.bridge.health_file import check_health_file
from marquee.errors import SettingsError

PROGRAM = """
import logging, os, sys, time
from marquee.bridge.supervisor import supervise
logging.basicConfig()
def work():
    with open(sys.argv[1], "a") as starts:
        print(os.getpid(), file=starts)
    if sys.argv[2].startswith("signal"):
        with open(sys.argv[1]) as starts:
            if len(starts.readlines()) < 3:
                os.kill(os.getpid(), int(sys.argv[2][6:]))
        return 0
    if sys.argv[2] == "wait":
        time.sleep(60)
    if sys.argv[2] == "raise":
        raise RuntimeError("broken")
    return int(sys.argv[2])
sys.exit(supervise(work))
"""


def start(tmp_path: Path, how: str) -> subprocess.Popen[str]:
    """Start a supervised program."""
    argv = [sys.executable, "-c", PROGRAM, str(tmp_path / "starts"), how]
    return subprocess.Popen(argv, stderr=subprocess.PIPE, text=True)


def children(tmp_path: Path) -> list[int]:
    """Return the process ids of the children, in order of their starts."""
    path = tmp_path / "starts"
    return [int(line) for line in path.read_text().split()] if path.exists() else []


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGKILL])
def test_supervise_child_ended_by_signal_starts_again(tmp_path: Path, number: signal.Signals) -> None:
    """With back-off, and an error that names the signal; the code is that of the child's own exit."""
    started = time.monotonic()
    program = start(tmp_path, f"signal{int(number)}")
    _, log = program.communicate(timeout=60)
    assert program.returncode == 0
    assert len(children(tmp_path)) == 3
    assert log.count(f"ended by {number.name}") == 2
    assert time.monotonic() - started > 1.4


@pytest.mark.parametrize(("how", "code"), [("0", 0), ("3", 3), ("raise", 1)])
def test_supervise_child_exit_is_final(tmp_path: Path, how: str, code: int) -> None:
    """A program that exits by itself, or with an error, is not started again."""
    program = start(tmp_path, how)
    _, log = program.communicate(timeout=60)
    assert (program.returncode, len(children(tmp_path))) == (code, 1)
    assert ("RuntimeError: broken" in log) == (how == "raise")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_supervise_stop_signal_ends_child(tmp_path: Path, number: signal.Signals) -> None:
    """The child gets the signal, and is not started again."""
    program = start(tmp_path, "wait")
    wait_until(lambda: len(children(tmp_path)) == 1)
    os.kill(program.pid, number)
    program.communicate(timeout=60)
    assert program.returncode == 128 + number
    assert not psutil.pid_exists(children(tmp_path)[0])
    assert len(children(tmp_path)) == 1


def test_supervise_killed_parent_takes_child_with_it(tmp_path: Path) -> None:
    """No unsupervised consumer remains."""
    program = start(tmp_path, "wait")
    wait_until(lambda: len(children(tmp_path)) == 1)
    program.kill()
    program.communicate(timeout=60)
    wait_until(lambda: not psutil.pid_exists(children(tmp_path)[0]))


@pytest.mark.servers
def test_bridge_topic_deleted_while_consuming_reads_its_successor(harness: BridgeHarness, tmp_path: Path) -> None:
    """The client may crash; the records of the recreated topic arrive exactly once, and a stop exits with 0."""
    health = tmp_path / "healthy"
    with separate_harness(tmp_path, harness.receiver, durable=False) as own:
        own.produce(numbered_records(100))
        bridge = own.process(tmp_path, health_file=str(health))
        bridge.start()
        try:
            own.await_arrival(100)
            own.await_commit(50, 50)
            admin = AdminClient({"bootstrap.servers": own.kafka.bootstrap, "log_level": 0})
            for future in admin.delete_topics([own.topic]).values():
                future.result(20)
            time.sleep(3)
            own.kafka.create_topic(own.topic, PARTITIONS)
            own.produce(numbered_records(60))
            harness.receiver.wait_for(lambda: records_by_topic_id(harness) == [100, 60])
            own.await_commit(30, 30)
            parent = psutil.Process(bridge.pid or 0)
            assert len(parent.children()) == 1
            age_s = time.time() - health.stat().st_mtime
            assert age_s < 30
        finally:
            bridge.stop()
        assert bridge.returncode == 0
    positions = [(key, record.offset) for key, records in harness.receiver.records().items() for record in records]
    assert len(positions) == len(set(positions)) == 160


def test_check_health_file_missing_directory_raises(tmp_path: Path) -> None:
    """At the start, with the option's name; without the option there is no health file."""
    for path in (tmp_path / "none" / "healthy", tmp_path):
        with pytest.raises(SettingsError, match="--health-file"):
            check_health_file(path)
    check_health_file(None)
    check_health_file(tmp_path / "healthy")


def test_supervisor_imports_no_library_of_the_child() -> None:
    """The parent stays small."""
    code = "import sys, marquee.cli.run_bridge; print(*sorted(sys.modules))"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert {"confluent_kafka", "msgspec", "cloudevents", "prometheus_client", "google.api_core"}.isdisjoint(modules)
