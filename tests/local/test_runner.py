"""The runner: one per state directory, controlled from other processes, without orphans."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from rich.console import Console
from tests.local.programs import has_ended
from tests.support.waiting import wait_until

from marquee.local import logs, status
from marquee.local.process import port_open
from marquee.local.runner import NotRunning, stop_running
from marquee.local.state_dir import LOG_BYTES, AlreadyRunning, StateDir


class Runner:
    """The fake system as a process."""

    def __init__(self, state_dir: StateDir) -> None:
        self.state_dir = state_dir
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.local.fake_system", str(state_dir.directory)],
            stdout=subprocess.PIPE,
            text=True,
        )
        self.output: list[str] = []
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.output.append(line.strip())
            if self.output[-1] == "ready":
                break
        self.family = psutil.Process(self.process.pid).children(recursive=True)

    def kill(self) -> int:
        self.process.kill()
        assert self.process.stdout is not None
        self.process.stdout.close()
        code = self.process.wait()
        wait_until(lambda: all(has_ended(p) for p in self.family))
        return code


@pytest.fixture
def state_dir(tmp_path: Path) -> StateDir:
    return StateDir(tmp_path / "state")


@pytest.fixture
def runner(state_dir: StateDir) -> Iterator[Runner]:
    started = Runner(state_dir)
    yield started
    started.kill()


@pytest.mark.parametrize("sig", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_runner_stop_signal_ends_all_processes(runner: Runner, sig: signal.Signals) -> None:
    """On Ctrl-C, SIGTERM and a closed terminal all processes end and the directory is unlocked."""
    runner.process.send_signal(sig)
    assert runner.process.wait(30) == 0
    wait_until(lambda: all(has_ended(p) for p in runner.family))
    assert not runner.state_dir.in_use
    assert runner.state_dir.read_state() is None


def test_runner_second_signal_does_not_interrupt_the_stop(runner: Runner) -> None:
    """Two signals in a row still end every part."""
    runner.process.send_signal(signal.SIGINT)
    runner.process.send_signal(signal.SIGTERM)
    runner.process.wait(30)
    wait_until(lambda: all(has_ended(p) for p in runner.family))


def test_runner_killed_leaves_no_orphans(runner: Runner) -> None:
    """After SIGKILL the orphan reaper ends the parts and their children."""
    assert len(runner.family) == 7
    runner.process.kill()
    runner.process.wait(30)  # Its lock may be released after its pipe to the reaper.
    wait_until(lambda: all(has_ended(p) for p in runner.family))
    assert not runner.state_dir.in_use


def test_runner_after_a_kill_starts_on_the_same_ports(runner: Runner) -> None:
    """The next runner in the same directory starts at once, with new processes."""
    before = runner.state_dir.read_state()
    runner.process.kill()
    second = Runner(runner.state_dir)
    after = runner.state_dir.read_state()
    assert before is not None
    assert after is not None
    assert [p.port for p in after.parts] == [p.port for p in before.parts]
    assert not {p.pids for p in after.parts} & {p.pids for p in before.parts}
    second.kill()


def test_state_dir_locked_by_runner_refuses_a_second(runner: Runner) -> None:
    """The error names the directory, the process and the commands; the first runner keeps running."""
    with pytest.raises(AlreadyRunning) as refused, runner.state_dir.locked():
        pass
    assert str(refused.value) == (
        f"Marquee is already running (process {runner.process.pid}): "
        f"its state directory {runner.state_dir.directory} is in use. "
        "See its state with `marquee local status`, stop it with `marquee local down`, "
        "or start a second system with `--state-dir DIR`."
    )
    assert status.show_status(runner.state_dir, Console(quiet=True)) == 0


def test_runner_in_second_directory_uses_other_ports(runner: Runner, tmp_path: Path) -> None:
    """The second runner reports the ports in use and their owner, and uses others."""
    second = Runner(StateDir(tmp_path / "second"))
    states = [r.state_dir.read_state() for r in (runner, second)]
    ports = [part.port for state in states if state for part in state.parts]
    assert len(set(ports)) == 6
    assert any(line.startswith("port 21001 is in use by python") for line in second.output)
    second.kill()


def test_stop_running_returns_when_all_processes_ended(runner: Runner) -> None:
    """All processes have ended on return; a second call reports that nothing runs."""
    stop_running(runner.state_dir)
    assert all(has_ended(p) for p in runner.family)
    with pytest.raises(NotRunning, match="nothing runs in"):
        stop_running(runner.state_dir)


def test_stop_running_unresponsive_runner_is_killed(runner: Runner) -> None:
    """A suspended (SIGSTOP) runner is killed after the time limit, and its parts end too."""
    runner.process.send_signal(signal.SIGSTOP)
    stop_running(runner.state_dir, timeout_s=0.5)
    wait_until(lambda: all(has_ended(p) for p in runner.family))


def test_runner_killed_part_restarts_in_state_file(runner: Runner) -> None:
    """``state.json`` has the new pid of a killed part and counts the restart."""
    before = runner.state_dir.read_state()
    assert before is not None
    os.kill(before.parts[0].pids[0], signal.SIGKILL)

    def has_restarted() -> bool:
        state = runner.state_dir.read_state()
        first = state.parts[0] if state else None
        return first is not None and first.restarts == 1 and first.pids not in ((), before.parts[0].pids)

    wait_until(has_restarted)
    port = before.parts[0].port
    assert port is not None
    wait_until(lambda: port_open(port))


def test_show_status_prints_every_part(runner: Runner, capsys: pytest.CaptureFixture[str]) -> None:
    """The table has process and port of each part; the code is 0 if all are healthy, 3 if nothing runs."""
    assert status.show_status(runner.state_dir, Console()) == 0
    output = capsys.readouterr().out
    state = runner.state_dir.read_state()
    assert state is not None
    for part in state.parts:
        assert all(word in output for word in (part.name, str(part.pids[0]), str(part.port)))
    runner.kill()
    assert status.show_status(runner.state_dir, Console()) == 3
    assert "Nothing runs" in capsys.readouterr().out


def test_show_logs_of_all_parts_has_their_names(runner: Runner, capsys: pytest.CaptureFixture[str]) -> None:
    """The logs of all parts have their names; the error for an unknown part lists those there are."""
    logs.show_logs(runner.state_dir, None, 20, False)
    assert capsys.readouterr().out == "         first | up\n        second | up\n         third | up\n"
    logs.show_logs(runner.state_dir, "third", 20, False)
    assert capsys.readouterr().out == "up\n"
    with pytest.raises(Exception, match=r"there is no log of 'lost' in .*; there are: first, second, third"):
        logs.show_logs(runner.state_dir, "lost", 20, False)


def test_rotate_logs_large_log_is_renamed(state_dir: StateDir) -> None:
    """A large log becomes ``.1``, the previous ``.1`` becomes ``.2``, and so on; the oldest is deleted."""
    with state_dir.locked():
        for age in range(5):
            (state_dir.logs / "part.log").write_bytes(str(age).encode() * (LOG_BYTES + 1))
            (state_dir.logs / "small.log").write_text("kept")
            state_dir.rotate_logs()
    names = [path.name for path in sorted(state_dir.logs.iterdir())]
    assert names == ["part.log.1", "part.log.2", "part.log.3", "small.log"]
    assert [(state_dir.logs / f"part.log.{n}").read_bytes()[:1] for n in (1, 2, 3)] == [b"4", b"3", b"2"]
