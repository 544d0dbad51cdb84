"""Supervision: order of start and stop, restarts, back-off."""

import os
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.local.programs import python_process
from tests.support.waiting import wait_until

from marquee.local.process import ProcessFailed, free_port, port_open
from marquee.local.state_dir import PartState, process_created_at
from marquee.local.supervision import FIRST_DELAY_S, MAX_DELAY_S, STEADY_S, Part, Supervisor


@dataclass
class FakeProgram:
    """A program without a process; its calls are appended to ``calls``."""

    name: str
    calls: list[str] = field(default_factory=list)
    alive: bool = False
    broken: bool = False

    def start(self) -> None:
        self.calls.append(f"start {self.name}")
        if self.broken:
            raise ProcessFailed(f"{self.name} is broken")
        self.alive = True

    def stop(self) -> None:
        self.calls.append(f"stop {self.name}")
        self.alive = False

    @property
    def pids(self) -> tuple[int, ...]:
        return (os.getpid(),) if self.alive else ()


def fake_part(name: str, calls: list[str], **options: bool) -> Part:
    return Part(name, FakeProgram(name, calls, **options))


def test_supervisor_stop_is_in_reverse_order() -> None:
    """Parts start one after the other and stop in reverse order."""
    calls: list[str] = []
    supervisor = Supervisor(calls.append)
    for name in "abc":
        supervisor.start(fake_part(name, calls))
    supervisor.stop()
    assert calls == ["start a", "start b", "start c", "stop c", "stop b", "stop a"]


def test_supervisor_start_waits_until_part_is_healthy(tmp_path: Path) -> None:
    """The port of the part accepts connections when ``start`` returns."""
    port = free_port()
    slow = f"import socket,time; time.sleep(.5); s = socket.create_server(('127.0.0.1', {port})); time.sleep(60)"
    eager = f"import socket; socket.create_connection(('127.0.0.1', {port})); print('reached')"
    supervisor = Supervisor(lambda _: None)
    program = python_process("slow", slow, tmp_path)
    program.healthy = lambda: port_open(port)
    supervisor.start(Part("slow", program))
    process = python_process("eager", eager, tmp_path)
    process.start()
    assert process.wait(10) == 0
    process.stop()
    supervisor.stop()


def test_supervisor_failed_start_is_cleaned_up() -> None:
    """The error is raised; the part is stopped and not supervised; earlier parts stay."""
    calls: list[str] = []
    supervisor = Supervisor(calls.append)
    supervisor.start(fake_part("good", calls))
    with pytest.raises(ProcessFailed, match="bad is broken"):
        supervisor.start(fake_part("bad", calls, broken=True))
    assert [p.name for p in supervisor.states()] == ["good"]
    assert calls == ["start good", "start bad", "stop bad"]
    supervisor.stop()


def test_supervisor_killed_process_restarts(tmp_path: Path) -> None:
    """A killed process gets a new pid; the restart is counted and reported."""
    events: list[str] = []
    states: list[tuple[PartState, ...]] = []
    supervisor = Supervisor(events.append, states.append)
    supervisor.start(Part("victim", python_process("victim", "import time; time.sleep(60)", tmp_path)))
    (first,) = supervisor.states()[0].pids
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: supervisor.states()[0].restarts == 1 and supervisor.states()[0].pids not in ((), (first,)))
    supervisor.stop()
    assert events == [f"victim ended; it restarts in {FIRST_DELAY_S:g} s", "victim restarted"]
    assert states[-1] == ()


def test_restart_if_due_repeated_failure_doubles_the_delay() -> None:
    """The delay doubles up to a limit; after a long uptime it is the first delay again."""
    events: list[str] = []
    program = FakeProgram("broken", broken=True)
    part = Part("broken", program, started=time.time())
    now, delays = 0.0, []
    for _ in range(8):
        assert part.restart_if_due(now, events.append)
        delays.append(float(events[-1].removeprefix("broken ended; it restarts in ").removesuffix(" s")))
        assert not part.restart_if_due(now + delays[-1] - 0.01, events.append)
        now += delays[-1]
        assert part.restart_if_due(now, events.append)
        assert events[-1] == "broken did not restart: broken is broken"
    assert delays == [0.5, 1, 2, 4, 8, MAX_DELAY_S, MAX_DELAY_S, MAX_DELAY_S]
    assert part.restarts == 8
    part.started = time.time() - STEADY_S - 1
    part.restart_if_due(now, events.append)
    assert events[-1] == f"broken ended; it restarts in {FIRST_DELAY_S:g} s"


def test_supervisor_part_stopped_by_name_does_not_restart() -> None:
    """The other parts keep running."""
    calls: list[str] = []
    supervisor = Supervisor(calls.append)
    for name in "ab":
        supervisor.start(fake_part(name, calls))
    supervisor.stop("a")
    time.sleep(0.3)
    assert [p.name for p in supervisor.states()] == ["b"]
    assert calls == ["start a", "start b", "stop a"]
    supervisor.stop()


def test_part_state_has_creation_time_of_processes(tmp_path: Path) -> None:
    """Pid and creation time together identify a process although pids are reused."""
    supervisor = Supervisor(lambda _: None)
    supervisor.start(
        Part(
            "part",
            python_process("part", "import time; time.sleep(60)", tmp_path),
            1234,
            "http://x/healthz",
        )
    )
    (state,) = supervisor.states()
    assert state.created == tuple(process_created_at(pid) for pid in state.pids)
    assert (state.name, state.port, state.health_url) == ("part", 1234, "http://x/healthz")
    supervisor.stop()
