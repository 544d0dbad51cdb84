"""Tests of the import into Grafana: where it connects, and what it says of a refusal."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from infra.grafana import Grafana


class Handler(BaseHTTPRequestHandler):
    """Answers as Grafana does to its user ``a:b/c``; there is nothing at /missing."""

    def do_GET(self) -> None:
        known = self.headers["Authorization"] == "Basic YTpiL2M="
        status = 401 if not known else 404 if self.path == "/missing" else 200
        body = b'{"path": "%s"}' % self.path.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@pytest.fixture
def port() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def test_call_with_a_proxy_in_the_environment_connects_itself(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy cannot reach a Grafana of this machine, and would learn the password."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert Grafana(f"http://a:b%2Fc@127.0.0.1:{port}").call("GET", "/api/x") == {"path": "/api/x"}


def test_call_refused_says_status_and_answer(port: int) -> None:
    """Also if nothing answers."""
    with pytest.raises(SystemExit, match="GET /missing: 404"):
        Grafana(f"http://a:b%2Fc@127.0.0.1:{port}").call("GET", "/missing")
    with pytest.raises(SystemExit, match="no answer"):
        Grafana("http://a:b@127.0.0.1:9").call("GET", "/api/x")
