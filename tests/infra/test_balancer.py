"""The load balancer's configuration, run by a real haproxy if it is installed (Debian: apt-get install haproxy)."""

from __future__ import annotations

import re
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from tests.support.waiting import wait_until

from marquee.local.process import free_port

CONFIG = (Path(__file__).parents[2] / "infra/compose/haproxy.cfg").read_text()
HAPROXY = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
pytestmark = [
    pytest.mark.servers,
    pytest.mark.skipif(HAPROXY is None, reason="haproxy is not installed: apt-get install haproxy"),
]


class Instance(ThreadingHTTPServer):
    """A server that answers like an instance of `recommend`."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.ready = True
        self.requests = 0
        Thread(target=self.serve_forever, daemon=True).start()


class Handler(BaseHTTPRequestHandler):
    server: Instance

    def do_GET(self) -> None:
        probe = self.path == "/readyz"
        self.server.requests += not probe
        self.send_response(200 if self.server.ready else 503)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Log nothing."""


@pytest.fixture
def instances() -> Iterator[list[Instance]]:
    started = [Instance() for _ in range(3)]
    yield started
    for instance in started:
        instance.shutdown()
        instance.server_close()


@pytest.fixture
def url(instances: list[Instance], tmp_path: Path) -> Iterator[str]:
    """Yield the URL of haproxy with Compose's configuration and local addresses."""
    port = free_port()
    text = CONFIG.replace("bind :8080", f"bind 127.0.0.1:{port}")
    for number, instance in enumerate(instances, 1):
        text = text.replace(f"recommend-{number}:8080", f"127.0.0.1:{instance.server_address[1]}")
    assert not re.search(r"recommend-\d:8080", text)
    file = tmp_path / "haproxy.cfg"
    file.write_text(text)
    process = subprocess.Popen([str(HAPROXY), "-db", "-q", "-f", str(file)])
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


def request_status(url: str) -> int:
    """Return the status, or 0 if there is no connection."""
    try:
        with urllib.request.urlopen(f"{url}/recommend/1", timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


until = partial(wait_until, timeout_s=30)


def test_balancer_ready_instances_share_requests(url: str, instances: list[Instance]) -> None:
    """Each of three instances gets at least a sixth of the requests."""
    until(lambda: request_status(url) == 200)
    assert [request_status(url) for _ in range(60)] == [200] * 60
    assert all(instance.requests >= 10 for instance in instances)


def test_balancer_instance_not_ready_gets_no_requests(url: str, instances: list[Instance]) -> None:
    """It gets requests again when it is ready; every request succeeds."""
    until(lambda: request_status(url) == 200)
    instances[0].ready = False
    assert [request_status(url) for _ in range(30)] == [200] * 30
    until(lambda: _gets_no_requests(url, instances[0]))
    instances[0].ready = True
    until(lambda: not _gets_no_requests(url, instances[0]))


def test_balancer_instance_dies_request_succeeds(url: str, instances: list[Instance]) -> None:
    """Another instance answers."""
    until(lambda: request_status(url) == 200)
    instances[1].shutdown()
    instances[1].server_close()
    assert [request_status(url) for _ in range(60)] == [200] * 60


def _gets_no_requests(url: str, instance: Instance) -> bool:
    before = instance.requests
    assert [request_status(url) for _ in range(9)] == [200] * 9
    return instance.requests == before
