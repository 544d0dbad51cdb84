"""The health of parts as ``marquee local status`` tells it."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console
from tests.local.programs import python_process
from tests.support.waiting import wait_until

from marquee.local.process import Process
from marquee.local.state_dir import PartState, StateDir, SystemState, process_created_at
from marquee.local.status import HEALTHY, check_health, show_status


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Process]:
    process = python_process("part", "import time; time.sleep(100)", tmp_path)
    process.start()
    yield process
    process.stop()


def part_of(process: Process, heartbeat: Path | None = None, age_s: float = 0) -> PartState:
    """Return the state of a part that has run for an hour, and touched its heartbeat ``age_s`` ago."""
    pid = process.pid or 0
    if heartbeat:
        heartbeat.touch()
        os.utime(heartbeat, (time.time() - age_s,) * 2)
    beat = str(heartbeat) if heartbeat else None
    return PartState("bridge", (pid,), (process_created_at(pid),), time.time() - 3_600, 0, heartbeat=beat)


def test_check_health_process_stopped_by_a_signal_is_not_healthy(process: Process, tmp_path: Path) -> None:
    """A bridge under SIGSTOP is shown with the time of its last progress."""
    part = part_of(process, tmp_path / "beat", 3)
    assert check_health(part) == HEALTHY
    process.kill(signal.SIGSTOP)
    wait_until(lambda: check_health(part) != HEALTHY, 5)
    assert check_health(part).startswith("stopped by a signal, no progress since ")
    process.kill(signal.SIGCONT)
    wait_until(lambda: check_health(part) == HEALTHY, 5)


def test_check_health_old_heartbeat_is_not_healthy(process: Process, tmp_path: Path) -> None:
    """A part that runs without progress says since when."""
    assert check_health(part_of(process, tmp_path / "beat", 130)).endswith("(130 s)")


def test_check_health_new_part_has_time_for_its_first_heartbeat(process: Process, tmp_path: Path) -> None:
    """The heartbeat of an earlier run does not count against a bridge that joins its group."""
    pid = process.pid or 0
    beat = str(tmp_path / "none")
    started = PartState("bridge", (pid,), (process_created_at(pid),), time.time() - 5, 0, heartbeat=beat)
    assert check_health(started) == HEALTHY


@pytest.mark.parametrize("stopped", [False, True])
def test_show_status_json_is_one_document(
    stopped: bool, process: Process, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The exit code follows the health, and pipes get no boxes."""
    state_dir = StateDir(tmp_path / ".local")
    part = part_of(process)
    with state_dir.locked():
        state_dir.write_state(SystemState(os.getpid(), True, (part,), kafka_in_memory=True))
        if stopped:
            process.kill(signal.SIGSTOP)
            wait_until(lambda: check_health(part) != HEALTHY, 5)
        assert show_status(state_dir, Console(), as_json=True) == int(stopped)
        document = json.loads(capsys.readouterr().out)
        assert (document["state"], document["healthy"]) == ("running", not stopped)
        assert document["parts"][0]["health"] == ("stopped by a signal" if stopped else HEALTHY)
        assert "Kafka is in memory" in document["notes"][0]
        show_status(state_dir, Console())
        lines = capsys.readouterr().out.splitlines()
        assert lines[0].split() == ["part", "process", "port", "uptime", "restarts", "health"]
        assert lines[1].split()[0] == "bridge"
        assert not set("┃━│─") & set("".join(lines))
    assert show_status(state_dir, Console(), as_json=True) == 3
    assert json.loads(capsys.readouterr().out) == {
        "state": "stopped", "healthy": False, "parts": [], "unread_s": None, "notes": []
    }  # fmt: skip
