"""One child process: its log, its health, its end; and no orphans."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest
from tests.local.programs import gone, python, wait_for

from marquee.local.process import ProcessFailed, free_port, port_open


def test_output_is_appended_to_the_log(tmp_path: Path) -> None:
    """A second run of the same process keeps what the first wrote."""
    child = python("talker", "print('hello')", tmp_path)
    for _ in range(2):
        child.start()
        assert child.wait(10) == 0
        child.stop()
    assert (tmp_path / "talker.log").read_text() == "hello\nhello\n"


def test_waits_until_healthy(tmp_path: Path) -> None:
    """``wait_healthy`` returns once the condition holds."""
    port = free_port()
    child = python(
        "server",
        f"import socket,time\ns=socket.create_server(('127.0.0.1',{port}))\ntime.sleep(60)",
        tmp_path,
    )
    child.start()
    child.wait_healthy(lambda: port_open(port))
    child.stop()
    assert not port_open(port)


def test_an_early_end_is_reported_with_the_log(tmp_path: Path) -> None:
    """A child that dies before it is healthy: the message names it, its code and its last words."""
    child = python("broken", "print('no such thing as luck'); raise SystemExit(3)", tmp_path)
    child.start()
    with pytest.raises(ProcessFailed, match=r"(?s)broken ended with code 3.*no such thing as luck"):
        child.wait_healthy(lambda: False)
    child.stop()


def test_a_slow_start_is_reported(tmp_path: Path) -> None:
    """A child that never becomes healthy fails after the time it was given."""
    child = python("slow", "import time; time.sleep(60)", tmp_path)
    child.start()
    with pytest.raises(ProcessFailed, match=r"slow was not healthy within 0.1 s"):
        child.wait_healthy(lambda: False, 0.1)
    child.stop()


def test_stray_settings_are_not_inherited(tmp_path: Path) -> None:
    """A child sees the settings that it is given, none of the shell's, and all else."""
    program = f"""
        from pathlib import Path
        from tests.local.programs import python
        code = "import os; print(sorted(k for k in os.environ if k.startswith(('MARQUEE_', 'KEPT'))))"
        child = python("child", code, Path({str(tmp_path)!r}), env={{"MARQUEE_GIVEN": "1"}})
        child.start()
        child.wait(10)
    """
    environment = {**os.environ, "MARQUEE_STRAY": "1", "KEPT": "1"}
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], env=environment, check=True)
    assert (tmp_path / "child.log").read_text() == "['KEPT', 'MARQUEE_GIVEN']\n"


def test_stop_asks_first(tmp_path: Path) -> None:
    """The chosen signal comes first, so that a child can finish its work."""
    code = """if True:
        import signal, sys, time
        signal.signal(signal.SIGINT, lambda *_: sys.exit(7))
        print("up", flush=True)
        time.sleep(60)
    """
    child = python("polite", code, tmp_path, stop_signal=signal.SIGINT)
    child.start()
    wait_for(lambda: "up" in child.log.read_text())
    child.stop()
    assert child.returncode == 7


def test_stop_ends_the_whole_group(tmp_path: Path) -> None:
    """A child that ignores the signal, and a grandchild that it left behind, are gone after ``stop``."""
    code = """if True:
        import signal, subprocess, sys, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']).pid, flush=True)
        time.sleep(60)
    """
    child = python("stubborn", code, tmp_path)
    child.start()
    wait_for(lambda: child.log.read_text().strip().isdigit())
    grandchild = psutil.Process(int(child.log.read_text()))
    child.stop(grace_s=0.1)
    assert child.returncode == -signal.SIGKILL
    wait_for(lambda: gone(grandchild))


def test_a_restart_ends_what_a_dead_leader_left(tmp_path: Path) -> None:
    """Workers that outlive a killed leader would keep its port: they are ended before it starts again."""
    code = """if True:
        import subprocess, sys, time
        print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']).pid, flush=True)
        time.sleep(60)
    """
    child = python("leader", code, tmp_path)
    child.start()
    wait_for(lambda: child.log.read_text().strip().isdigit())
    worker = psutil.Process(int(child.log.read_text()))
    os.kill(child.pid or 0, signal.SIGKILL)
    wait_for(lambda: child.pid is None)
    assert worker.is_running()
    child.start()
    wait_for(lambda: gone(worker))
    child.stop()


def test_niceness(tmp_path: Path) -> None:
    """A process of lower priority says so to the kernel."""
    child = python("nice", "import os; print(os.nice(0))", tmp_path, niceness=5)
    child.start()
    child.wait(10)
    child.stop()
    assert int(child.log.read_text()) == os.nice(0) + 5


@pytest.mark.parametrize("sig", [signal.SIGKILL, signal.SIGTERM])
def test_no_orphans_when_we_are_killed(tmp_path: Path, sig: signal.Signals) -> None:
    """However the parent ends, its children and their children end with it."""
    program = f"""
        import time
        from pathlib import Path
        from tests.local.programs import python
        code = "import subprocess, sys, time; " \\
               "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']); " \\
               "print('up', flush=True); time.sleep(60)"
        children = [python(f"child{{n}}", code, Path({str(tmp_path)!r})) for n in range(3)]
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
    assert len(family) == 7  # Three children, three grandchildren, and the guard.
    parent.send_signal(sig)
    parent.wait()
    parent.stdout.close()
    wait_for(lambda: all(gone(p) for p in family))


def test_a_child_outlives_the_thread_that_started_it(tmp_path: Path) -> None:
    """The end of a thread is not the end of the process."""
    import threading

    child = python("child", "import time; time.sleep(60)", tmp_path)
    thread = threading.Thread(target=child.start)
    thread.start()
    thread.join()
    time.sleep(0.2)
    assert child.pid is not None
    child.stop()
