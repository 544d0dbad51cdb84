"""The runner: one a home, seen and stopped from other processes, and no orphan however it ends."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from rich.console import Console
from tests.local.programs import gone, wait_for

from marquee.local import logs, status
from marquee.local.process import port_open
from marquee.local.runner import NotRunning, stop_running
from marquee.local.state_dir import LOG_BYTES, AlreadyRunning, StateDir


class Runner:
    """The fake system, running as a process."""

    def __init__(self, home: StateDir) -> None:
        self.home = home
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.local.fake_system", str(home.directory)],
            stdout=subprocess.PIPE,
            text=True,
        )
        self.said: list[str] = []
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said.append(line.strip())
            if self.said[-1] == "ready":
                break
        self.family = psutil.Process(self.process.pid).children(recursive=True)

    def end(self) -> int:
        self.process.kill()
        assert self.process.stdout is not None
        self.process.stdout.close()
        code = self.process.wait()
        wait_for(lambda: all(gone(p) for p in self.family))
        return code


@pytest.fixture
def home(tmp_path: Path) -> StateDir:
    return StateDir(tmp_path / "home")


@pytest.fixture
def runner(home: StateDir) -> Iterator[Runner]:
    started = Runner(home)
    yield started
    started.end()


@pytest.mark.parametrize("sig", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_stops_all_when_asked(runner: Runner, sig: signal.Signals) -> None:
    """Ctrl-C, a polite end and a closed terminal: nothing is left, and the home is free."""
    runner.process.send_signal(sig)
    assert runner.process.wait(30) == 0
    wait_for(lambda: all(gone(p) for p in runner.family))
    assert not runner.home.in_use
    assert runner.home.read_state() is None


def test_a_second_signal_does_not_stop_the_stopping(runner: Runner) -> None:
    """An impatient Ctrl-C, Ctrl-C still ends every part."""
    runner.process.send_signal(signal.SIGINT)
    runner.process.send_signal(signal.SIGTERM)
    runner.process.wait(30)
    wait_for(lambda: all(gone(p) for p in runner.family))


def test_no_orphan_when_the_runner_is_killed(runner: Runner) -> None:
    """SIGKILL gives no time to tidy: the guard does it. Parts and their children are gone."""
    assert len(runner.family) == 7
    runner.process.kill()
    wait_for(lambda: all(gone(p) for p in runner.family))
    assert not runner.home.in_use


def test_resumes_after_a_kill(runner: Runner) -> None:
    """The next runner in the same home starts at once, on the same ports."""
    before = runner.home.read_state()
    runner.process.kill()
    second = Runner(runner.home)
    after = runner.home.read_state()
    assert before is not None
    assert after is not None
    assert [p.port for p in after.parts] == [p.port for p in before.parts]
    assert not {p.pids for p in after.parts} & {p.pids for p in before.parts}
    second.end()


def test_a_second_runner_is_refused(runner: Runner) -> None:
    """The sentence names the home, the process, and what to do; the first one is not disturbed."""
    with pytest.raises(AlreadyRunning) as refused, runner.home.held():
        pass
    assert str(refused.value) == (
        f"Marquee already runs here (process {runner.process.pid}): "
        f"its home {runner.home.directory} is in use. "
        "See it with `marquee local status`, stop it with `marquee local down`, "
        "or start a second one with `--home DIR`."
    )
    assert status.show_status(runner.home, Console(quiet=True)) == 0


def test_two_runners_in_two_homes(runner: Runner, tmp_path: Path) -> None:
    """The second says which ports are taken and by whom, and takes others."""
    second = Runner(StateDir(tmp_path / "second"))
    states = [r.home.read_state() for r in (runner, second)]
    ports = [part.port for state in states if state for part in state.parts]
    assert len(set(ports)) == 6
    assert any(line.startswith("port 21001 is taken by python") for line in second.said)
    second.end()


def test_down_from_another_process(runner: Runner) -> None:
    """``down`` returns when nothing is left; a second one says that nothing runs."""
    stop_running(runner.home)
    assert all(gone(p) for p in runner.family)
    with pytest.raises(NotRunning, match="nothing runs in"):
        stop_running(runner.home)


def test_down_of_a_runner_that_does_not_listen(runner: Runner) -> None:
    """A stopped (SIGSTOP) runner is killed when its time is over, and its parts end with it."""
    runner.process.send_signal(signal.SIGSTOP)
    stop_running(runner.home, patience_s=0.5)
    wait_for(lambda: all(gone(p) for p in runner.family))


def test_restart_is_seen_from_outside(runner: Runner) -> None:
    """A part that is killed comes back; ``state.json`` has its new pid and counts the restart."""
    before = runner.home.read_state()
    assert before is not None
    os.kill(before.parts[0].pids[0], signal.SIGKILL)

    def back() -> bool:
        state = runner.home.read_state()
        first = state.parts[0] if state else None
        return first is not None and first.restarts == 1 and first.pids not in ((), before.parts[0].pids)

    wait_for(back)
    port = before.parts[0].port
    assert port is not None
    wait_for(lambda: port_open(port))


def test_status(runner: Runner, capsys: pytest.CaptureFixture[str]) -> None:
    """One row a part with its process and port; 0 when all are well, 3 when nothing runs."""
    assert status.show_status(runner.home, Console()) == 0
    shown = capsys.readouterr().out
    state = runner.home.read_state()
    assert state is not None
    for part in state.parts:
        assert all(word in shown for word in (part.name, str(part.pids[0]), str(part.port)))
    runner.end()
    assert status.show_status(runner.home, Console()) == 3
    assert "Nothing runs" in capsys.readouterr().out


def test_logs(runner: Runner, capsys: pytest.CaptureFixture[str]) -> None:
    """Of all parts with their names, or of one; an unknown part gets the list of those there are."""
    logs.show_logs(runner.home, None, 20, False)
    assert capsys.readouterr().out == "         first | up\n        second | up\n         third | up\n"
    logs.show_logs(runner.home, "third", 20, False)
    assert capsys.readouterr().out == "up\n"
    with pytest.raises(Exception, match=r"there is no log of 'lost' in .*; there are: first, second, third"):
        logs.show_logs(runner.home, "lost", 20, False)


def test_large_logs_are_put_aside(home: StateDir) -> None:
    """At a start a log that has grown large becomes .1, that becomes .2, and so on; the oldest goes."""
    with home.held():
        for age in range(5):
            (home.logs / "part.log").write_bytes(str(age).encode() * (LOG_BYTES + 1))
            (home.logs / "small.log").write_text("kept")
            home.rotate_logs()
    names = [path.name for path in sorted(home.logs.iterdir())]
    assert names == ["part.log.1", "part.log.2", "part.log.3", "small.log"]
    assert [(home.logs / f"part.log.{n}").read_bytes()[:1] for n in (1, 2, 3)] == [b"4", b"3", b"2"]
