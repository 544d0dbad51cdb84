"""The balancer's configuration, run by the real haproxy where there is one (Debian: apt-get install haproxy)."""

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
    """An instance of `recommend`, as far as the balancer sees it."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.ready = True
        self.asked = 0
        Thread(target=self.serve_forever, daemon=True).start()


class Handler(BaseHTTPRequestHandler):
    server: Instance

    def do_GET(self) -> None:
        probe = self.path == "/readyz"
        self.server.asked += not probe
        self.send_response(200 if self.server.ready else 503)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Nothing: the test's output is its own."""


@pytest.fixture
def instances() -> Iterator[list[Instance]]:
    made = [Instance() for _ in range(3)]
    yield made
    for one in made:
        one.shutdown()
        one.server_close()


@pytest.fixture
def url(instances: list[Instance], tmp_path: Path) -> Iterator[str]:
    """Where haproxy listens, with Compose's very configuration but for the addresses."""
    port = free_port()
    text = CONFIG.replace("bind :8080", f"bind 127.0.0.1:{port}")
    for number, one in enumerate(instances, 1):
        text = text.replace(f"recommend-{number}:8080", f"127.0.0.1:{one.server_address[1]}")
    assert not re.search(r"recommend-\d:8080", text)
    file = tmp_path / "haproxy.cfg"
    file.write_text(text)
    process = subprocess.Popen([str(HAPROXY), "-db", "-q", "-f", str(file)])
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


def ask(url: str) -> int:
    """The status; 0 if nobody listens."""
    try:
        with urllib.request.urlopen(f"{url}/recommend/1", timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


until = partial(wait_until, timeout_s=30)


def test_all_instances_are_asked(url: str, instances: list[Instance]) -> None:
    """The load is spread."""
    until(lambda: ask(url) == 200)
    assert [ask(url) for _ in range(60)] == [200] * 60
    assert all(one.asked >= 10 for one in instances)


def test_one_that_is_not_ready_is_not_asked(url: str, instances: list[Instance]) -> None:
    """And is asked again when it is; no caller notices either."""
    until(lambda: ask(url) == 200)
    instances[0].ready = False
    assert [ask(url) for _ in range(30)] == [200] * 30
    until(lambda: _unasked(url, instances[0]))
    instances[0].ready = True
    until(lambda: not _unasked(url, instances[0]))


def test_one_that_dies_costs_no_answer(url: str, instances: list[Instance]) -> None:
    """The request goes to another."""
    until(lambda: ask(url) == 200)
    instances[1].shutdown()
    instances[1].server_close()
    assert [ask(url) for _ in range(60)] == [200] * 60


def _unasked(url: str, instance: Instance) -> bool:
    before = instance.asked
    assert [ask(url) for _ in range(9)] == [200] * 9
    return instance.asked == before
