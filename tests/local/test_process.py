"""A child process: log, health, end, and no orphans."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import psutil
import pytest
from tests.local.programs import has_ended, python_process
from tests.support.waiting import wait_until

from marquee.local.process import ProcessFailed, free_port, port_open


def test_start_again_appends_to_the_log(tmp_path: Path) -> None:
    """A second run of the same process keeps the output of the first."""
    child = python_process("talker", "print('hello')", tmp_path)
    for _ in range(2):
        child.start()
        assert child.wait(10) == 0
        child.stop()
    assert (tmp_path / "talker.log").read_text() == "hello\nhello\n"


def test_wait_healthy_condition_holds_returns(tmp_path: Path) -> None:
    """The wait ends when the condition is true."""
    port = free_port()
    child = python_process(
        "server",
        f"import socket,time\ns=socket.create_server(('127.0.0.1',{port}))\ntime.sleep(60)",
        tmp_path,
    )
    child.start()
    child.wait_healthy(lambda: port_open(port))
    child.stop()
    assert not port_open(port)


def test_wait_healthy_child_ends_reports_code_and_log(tmp_path: Path) -> None:
    """The error has the name, the exit code and the end of the log of a child that ended."""
    child = python_process("broken", "print('no such file'); raise SystemExit(3)", tmp_path)
    child.start()
    with pytest.raises(ProcessFailed, match=r"(?s)broken ended with code 3.*no such file"):
        child.wait_healthy(lambda: False)
    child.stop()


def test_wait_healthy_timeout_is_reported(tmp_path: Path) -> None:
    """A child that does not become healthy fails after the time limit."""
    child = python_process("slow", "import time; time.sleep(60)", tmp_path)
    child.start()
    with pytest.raises(ProcessFailed, match=r"slow was not healthy within 0.1 s"):
        child.wait_healthy(lambda: False, 0.1)
    child.stop()


def test_start_settings_of_the_shell_are_not_inherited(tmp_path: Path) -> None:
    """A child gets the given settings and all other variables, but no settings of the shell."""
    program = f"""
        from pathlib import Path
        from tests.local.programs import python_process
        code = "import os; print(sorted(k for k in os.environ if k.startswith(('MARQUEE_', 'KEPT'))))"
        child = python_process("child", code, Path({str(tmp_path)!r}), env={{"MARQUEE_GIVEN": "1"}})
        child.start()
        child.wait(10)
    """
    environment = {**os.environ, "MARQUEE_STRAY": "1", "KEPT": "1"}
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], env=environment, check=True)
    assert (tmp_path / "child.log").read_text() == "['KEPT', 'MARQUEE_GIVEN']\n"


def test_stop_sends_the_stop_signal_first(tmp_path: Path) -> None:
    """A child can finish its work on the stop signal."""
    code = """if True:
        import signal, sys, time
        signal.signal(signal.SIGINT, lambda *_: sys.exit(7))
        print("up", flush=True)
        time.sleep(60)
    """
    child = python_process("polite", code, tmp_path, stop_signal=signal.SIGINT)
    child.start()
    wait_until(lambda: "up" in child.log.read_text())
    child.stop()
    assert child.returncode == 7


def test_stop_ignored_signal_kills_the_whole_group(tmp_path: Path) -> None:
    """A child that ignores the signal and its own child have ended after ``stop``."""
    code = """if True:
        import signal, subprocess, sys, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']).pid, flush=True)
        time.sleep(60)
    """
    child = python_process("stubborn", code, tmp_path)
    child.start()
    wait_until(lambda: child.log.read_text().strip().isdigit())
    grandchild = psutil.Process(int(child.log.read_text()))
    child.stop(grace_s=0.1)
    assert child.returncode == -signal.SIGKILL
    wait_until(lambda: has_ended(grandchild))


def test_start_after_killed_leader_kills_its_workers(tmp_path: Path) -> None:
    """Workers of a killed leader would keep its port, so they are killed before it starts again."""
    code = """if True:
        import subprocess, sys, time
        print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']).pid, flush=True)
        time.sleep(60)
    """
    child = python_process("leader", code, tmp_path)
    child.start()
    wait_until(lambda: child.log.read_text().strip().isdigit())
    worker = psutil.Process(int(child.log.read_text()))
    os.kill(child.pid or 0, signal.SIGKILL)
    wait_until(lambda: child.pid is None)
    assert worker.is_running()
    child.start()
    wait_until(lambda: has_ended(worker))
    child.stop()


def test_start_niceness_is_added_to_ours(tmp_path: Path) -> None:
    """The child's nice value is the parent's plus ``niceness``."""
    child = python_process("nice", "import os; print(os.nice(0))", tmp_path, niceness=5)
    child.start()
    child.wait(10)
    child.stop()
    assert int(child.log.read_text()) == os.nice(0) + 5


@pytest.mark.parametrize("sig", [signal.SIGKILL, signal.SIGTERM])
def test_parent_killed_leaves_no_orphans(tmp_path: Path, sig: signal.Signals) -> None:
    """However the parent ends, its children and their children end too."""
    program = f"""
        import time
        from pathlib import Path
        from tests.local.programs import python_process
        code = "import subprocess, sys, time; " \\
               "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']); " \\
               "print('up', flush=True); time.sleep(60)"
        children = [python_process(f"child{{n}}", code, Path({str(tmp_path)!r})) for n in range(3)]
        for child in children:
            child.start()
        while not all("up" in child.log.read_text() for child in children):
            time.sleep(.02)
        print("up", flush=True)
        time.sleep(60)
    """
    parent = subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    assert parent.stdout.readline() == b"up\n"
    family = psutil.Process(parent.pid).children(recursive=True)
    # Three children, three grandchildren, and the orphan reaper.
    assert len(family) == 7
    parent.send_signal(sig)
    parent.wait()
    parent.stdout.close()
    wait_until(lambda: all(has_ended(p) for p in family))


def test_start_in_thread_outlives_the_thread(tmp_path: Path) -> None:
    """The end of the starting thread does not end the process."""
    child = python_process("child", "import time; time.sleep(60)", tmp_path)
    thread = threading.Thread(target=child.start)
    thread.start()
    thread.join()
    time.sleep(0.2)
    assert child.pid is not None
    child.stop()


@pytest.mark.parametrize("exceptions", ["", "example.edu"])
def test_start_proxy_of_the_environment_is_not_for_loopback(
    exceptions: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A child gets the proxy, with this machine among the exceptions."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", exceptions)
    monkeypatch.delenv("NO_PROXY", raising=False)
    code = "import urllib.request as u, os; print(os.environ['http_proxy'], *map(bool, map(u.proxy_bypass, %r)))"
    hosts = ["127.0.0.1", "localhost", "::1", "example.org", "example.edu"]
    child = python_process("child", code % hosts, tmp_path)
    child.start()
    assert child.wait(10) == 0
    child.stop()
    bypassed = f"True True True False {bool(exceptions)}"
    assert (tmp_path / "child.log").read_text() == f"http://127.0.0.1:9 {bypassed}\n"
