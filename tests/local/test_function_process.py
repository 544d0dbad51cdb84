"""Functions as processes: one instance, or several on one port."""

import signal
import socket
import urllib.request
from contextlib import suppress
from pathlib import Path

import pytest
from tests.support.waiting import wait_until

from marquee.local.function_process import function_instance, health_check
from marquee.local.infra_spec import FunctionSpec, Instances, LocalFunction
from marquee.local.process import Process, free_port, port_open

MAIN = """
import os
def hello(request):
    if request.path == "/broken":
        return "no", 503
    return f"{os.getpid()} {os.environ.get('MARQUEE_LOG_LEVEL')}"
"""

pytestmark = pytest.mark.servers


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "functions/hello").mkdir(parents=True)
    (tmp_path / "functions/hello/main.py").write_text(MAIN)
    return tmp_path


def hello_spec(workers: int = 1) -> FunctionSpec:
    return FunctionSpec(
        "A test function.", "functions/hello", "http", True, 128, 10, Instances(0, 1), workers, 4, 0, "/healthz",
        LocalFunction(8080),
    )  # fmt: skip


def get(port: int) -> list[str]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as response:
        return str(response.read().decode()).split()


def start_process(process: Process, port: int) -> Process:
    process.start()
    process.wait_healthy(health_check(f"http://127.0.0.1:{port}/healthz"))
    return process


@pytest.mark.parametrize("workers", [1, 2])
def test_function_instance_has_its_settings_and_workers(root: Path, workers: int) -> None:
    """The function gets the given settings and runs in the given number of workers."""
    port = free_port()
    function = hello_spec()
    process = function_instance("hello", function, root, root, port, {"MARQUEE_LOG_LEVEL": "DEBUG"}, workers)
    start_process(process, port)
    try:
        pids = {get(port)[0] for _ in range(200)}
        assert get(port)[1] == "DEBUG"
        assert len(pids) == workers
    finally:
        process.stop()
    assert not port_open(port)


def test_function_instance_killed_leaves_the_others(root: Path) -> None:
    """Requests reach all instances of a port; each has a health check; the others survive a kill."""
    shared, own_ports = free_port(), (free_port(), free_port())
    processes = [
        start_process(function_instance(f"hello-{n}", hello_spec(), root, root, shared, {}, own_port=port), port)
        for n, port in enumerate(own_ports)
    ]
    try:
        wait_until(lambda: {get(shared)[0] for _ in range(20)} == {get(port)[0] for port in own_ports})
        processes[0].kill(signal.SIGKILL)
        wait_until(lambda: not port_open(own_ports[0]))
        assert {get(shared)[0] for _ in range(20)} == {get(own_ports[1])[0]}
    finally:
        for process in processes:
            process.stop()
    assert not port_open(shared)


def test_function_instance_long_request_line_is_refused(root: Path) -> None:
    """A request line of more than gunicorn's maximum is 414, whatever the function sets."""
    shared, own = free_port(), free_port()
    process = start_process(function_instance("hello", hello_spec(), root, root, shared, {}, own_port=own), own)
    try:
        statuses = []
        for length in (8_000, 9_000, 1_000_000):
            with socket.create_connection(("127.0.0.1", shared), 10) as connection:
                with suppress(OSError):  # The server may close before it has read all.
                    connection.sendall(b"GET /" + b"a" * length + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
                statuses.append(_read_status(connection))
    finally:
        process.stop()
    assert statuses[0] == "200"
    assert all(status in ("400", "414", "closed") for status in statuses[1:]), statuses


def _read_status(connection: socket.socket) -> str:
    try:
        answer = connection.recv(4_096).decode()
    except ConnectionError:
        return "closed"
    return answer.split()[1] if answer else "closed"


def test_health_check_only_status_200_is_healthy(root: Path) -> None:
    """An error status and a closed port are not healthy."""
    port = free_port()
    assert not health_check(f"http://127.0.0.1:{port}/healthz")()
    process = start_process(function_instance("hello", hello_spec(), root, root, port, {}), port)
    try:
        assert health_check(f"http://127.0.0.1:{port}/working")()
        assert not health_check(f"http://127.0.0.1:{port}/broken")()
    finally:
        process.stop()


def test_function_instance_leaves_home_directory_unchanged(root: Path, tmp_path: Path) -> None:
    """The server has no control socket in ~/.gunicorn."""
    port = free_port()
    process = function_instance("hello", hello_spec(), root, root, port, {"HOME": str(tmp_path / "home")})
    start_process(process, port)
    process.stop()
    assert not (tmp_path / "home").exists()


def test_health_check_ignores_a_proxy_of_the_environment(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`status` and the scheduler speak to this machine directly."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    port = free_port()
    process = function_instance("hello", hello_spec(), root, root, port, {})
    start_process(process, port)
    try:
        assert health_check(f"http://127.0.0.1:{port}/", 10)()
    finally:
        process.stop()
