"""Clients that never end their request: they hold no thread of a function for long."""

from __future__ import annotations

import socket
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import gunicorn.config
import pytest
from tests.support.waiting import wait_until

from marquee.config.deadline_worker import DeadlineWorker
from marquee.config.request_limits import WORKER_CLASS, limit_requests
from marquee.local.process import Process, free_port, port_open

ROOT = Path(__file__).parents[2]
THREADS = 2
pytestmark = pytest.mark.servers


class ShortDeadlineWorker(DeadlineWorker):
    """A worker with short limits."""

    header_s, body_s = 0.3, 0.3


def slow_app(environ: dict[str, object], start_response: object) -> list[bytes]:
    """Read the body, and answer after longer than the limits to a request without one."""
    import time

    body = environ["wsgi.input"].read()  # type: ignore[attr-defined]
    time.sleep(0 if body else 1.5)
    start_response("200 OK", [("Content-Length", "2")])  # type: ignore[operator]
    return [b"ok"]


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Start gunicorn with few threads and short limits; return its port."""
    port, here = free_port(), __name__
    argv = [sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{port}", "--threads", str(THREADS)]
    argv += ["--no-control-socket", "--worker-class", f"{here}.ShortDeadlineWorker", f"{here}:slow_app"]
    log = tmp_path_factory.mktemp("worker") / "gunicorn.log"
    process = Process("gunicorn", argv, log, cwd=ROOT)
    process.start()
    process.wait_healthy(lambda: port_open(port))
    yield port
    process.stop()


def is_closed(connection: socket.socket) -> bool:
    """Return True if the server has closed the connection; what it sent before is read."""
    connection.settimeout(0.05)
    try:
        while connection.recv(1000):
            pass
    except TimeoutError:
        return False
    except ConnectionError:
        pass
    return True


@pytest.mark.parametrize(
    "begin",
    [
        b"G",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nhalf",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhalf",
    ],
    ids=["first byte", "headers", "body", "chunks"],
)
def test_worker_request_that_never_ends_is_closed(port: int, begin: bytes) -> None:
    """As many such clients as threads, each of which sends a byte now and then, are closed, and others are answered."""
    slow = [socket.create_connection(("127.0.0.1", port)) for _ in range(THREADS)]
    for connection in slow:
        connection.sendall(begin)

    def all_closed() -> bool:
        for connection in slow:
            try:
                connection.sendall(b"a")
            except OSError:
                pass
        return all(is_closed(connection) for connection in slow)

    wait_until(all_closed, 20)
    request = urllib.request.Request(f"http://127.0.0.1:{port}/", b"whole")
    with urllib.request.urlopen(request, timeout=20) as response:
        assert response.read() == b"ok"
    for connection in slow:
        connection.close()


def test_worker_long_work_without_a_body_is_finished(port: int) -> None:
    """The limit is for what the client sends, not for the work of a task."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=20) as response:
        assert response.read() == b"ok"


def test_limit_requests_sets_the_worker_of_functions_framework(monkeypatch: pytest.MonkeyPatch) -> None:
    """It leaves the class to gunicorn's default, and each function replaces that."""
    monkeypatch.setattr(gunicorn.config.WorkerClass, "default", gunicorn.config.WorkerClass.default)
    monkeypatch.setattr(gunicorn.config.LimitRequestLine, "validator", gunicorn.config.LimitRequestLine.validator)
    limit_requests()
    config = gunicorn.config.Config()
    config.set("threads", 8)
    assert config.worker_class is DeadlineWorker
    assert config.worker_class_str == WORKER_CLASS
    functions = sorted(ROOT.glob("functions/*/main.py"))
    assert [path.parent.name for path in functions if "    prepare_server(flask" not in path.read_text()] == []
