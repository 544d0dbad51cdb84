"""Parts start in order, come back when they die, and stop in the order reversed."""

import os
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.local.programs import python, wait_for

from marquee.local.process import ProcessFailed, free_port, port_open
from marquee.local.state_dir import PartState, created_at
from marquee.local.supervision import FIRST_DELAY_S, LONGEST_DELAY_S, STEADY_S, OneProcess, Part, Supervisor


@dataclass
class FakeProgram:
    """A program whose life is a flag; what is done to it goes to ``diary``."""

    name: str
    diary: list[str] = field(default_factory=list)
    alive: bool = False
    broken: bool = False

    def start(self) -> None:
        self.diary.append(f"start {self.name}")
        if self.broken:
            raise ProcessFailed(f"{self.name} is broken")
        self.alive = True

    def stop(self) -> None:
        self.diary.append(f"stop {self.name}")
        self.alive = False

    @property
    def pids(self) -> tuple[int, ...]:
        return (os.getpid(),) if self.alive else ()


def fake_part(name: str, diary: list[str], **more: bool) -> Part:
    return Part(name, FakeProgram(name, diary, **more))


def test_order() -> None:
    """Started one after the other; stopped last started first."""
    diary: list[str] = []
    supervisor = Supervisor(diary.append)
    for name in "abc":
        supervisor.start(fake_part(name, diary))
    supervisor.stop()
    assert diary == ["start a", "start b", "start c", "stop c", "stop b", "stop a"]


def test_each_waits_until_the_one_before_is_healthy(tmp_path: Path) -> None:
    """When the second part begins to start, the first one's port takes connections."""
    port = free_port()
    slow = (
        f"import socket,time; time.sleep(.5); s = socket.create_server(('127.0.0.1', {port})); time.sleep(60)"
    )
    eager = f"import socket; socket.create_connection(('127.0.0.1', {port})); print('reached')"
    supervisor = Supervisor(lambda _: None)
    supervisor.start(Part("slow", OneProcess(python("slow", slow, tmp_path), lambda: port_open(port))))
    process = python("eager", eager, tmp_path)
    process.start()
    assert process.wait(10) == 0
    process.stop()
    supervisor.stop()


def test_a_part_that_cannot_start_is_cleared_away() -> None:
    """The error comes out; the part is stopped and not supervised; those before it stay."""
    diary: list[str] = []
    supervisor = Supervisor(diary.append)
    supervisor.start(fake_part("good", diary))
    with pytest.raises(ProcessFailed, match="bad is broken"):
        supervisor.start(fake_part("bad", diary, broken=True))
    assert [p.name for p in supervisor.states()] == ["good"]
    assert diary == ["start good", "start bad", "stop bad"]
    supervisor.stop()


def test_a_killed_process_comes_back(tmp_path: Path) -> None:
    """Killed from outside, it has another pid soon, its restart is counted and said."""
    said: list[str] = []
    states: list[tuple[PartState, ...]] = []
    supervisor = Supervisor(said.append, states.append)
    supervisor.start(Part("victim", OneProcess(python("victim", "import time; time.sleep(60)", tmp_path))))
    (first,) = supervisor.states()[0].pids
    os.kill(first, signal.SIGKILL)
    wait_for(
        lambda: supervisor.states()[0].restarts == 1 and supervisor.states()[0].pids not in ((), (first,))
    )
    supervisor.stop()
    assert said == [f"victim ended; it is started again in {FIRST_DELAY_S:g} s", "victim is back"]
    assert states[-1] == ()


def test_back_off_doubles_up_to_a_limit_and_forgets() -> None:
    """A part that dies again and again is tried ever more seldom; once it was up for long, quickly again."""
    said: list[str] = []
    program = FakeProgram("sick", broken=True)
    part = Part("sick", program, started=time.time())
    now, delays = 0.0, []
    for _ in range(8):
        assert part.tend(now, said.append)
        delays.append(float(said[-1].removeprefix("sick ended; it is started again in ").removesuffix(" s")))
        assert not part.tend(now + delays[-1] - 0.01, said.append)
        now += delays[-1]
        assert part.tend(now, said.append)
        assert said[-1] == "sick did not come back: sick is broken"
    assert delays == [0.5, 1, 2, 4, 8, LONGEST_DELAY_S, LONGEST_DELAY_S, LONGEST_DELAY_S]
    assert part.restarts == 8
    part.started = time.time() - STEADY_S - 1
    part.tend(now, said.append)
    assert said[-1] == f"sick ended; it is started again in {FIRST_DELAY_S:g} s"


def test_one_part_can_be_stopped_for_good() -> None:
    """A part that was stopped by name is not restarted; the others run on."""
    diary: list[str] = []
    supervisor = Supervisor(diary.append)
    for name in "ab":
        supervisor.start(fake_part(name, diary))
    supervisor.stop("a")
    time.sleep(0.3)
    assert [p.name for p in supervisor.states()] == ["b"]
    assert diary == ["start a", "start b", "stop a"]
    supervisor.stop()


def test_the_state_names_processes_for_good(tmp_path: Path) -> None:
    """Pid and time of creation together: a pid that is used again is another process."""
    supervisor = Supervisor(lambda _: None)
    supervisor.start(
        Part(
            "part",
            OneProcess(python("part", "import time; time.sleep(60)", tmp_path)),
            1234,
            "http://x/healthz",
        )
    )
    (state,) = supervisor.states()
    assert state.created == tuple(created_at(pid) for pid in state.pids)
    assert (state.name, state.port, state.health_url) == ("part", 1234, "http://x/healthz")
    supervisor.stop()
