"""Tests of the HTTP client: reuse of connections, and errors without the URL."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from marquee.config.http_client import HttpClient
from marquee.errors import RequestFailed
from marquee.local.process import free_port

pytestmark = pytest.mark.servers


class EchoServer(ThreadingHTTPServer):
    """Answers with status 418 and the request line; ``max_requests`` are answered on one connection."""

    daemon_threads = True

    def __init__(self) -> None:
        self.connections = 0
        self.max_requests = 1_000
        self.released = threading.Event()
        super().__init__(("127.0.0.1", 0), EchoHandler)
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/base/?key=1"


class EchoHandler(BaseHTTPRequestHandler):
    """Handles the requests of one connection."""

    protocol_version = "HTTP/1.1"
    server: EchoServer

    def setup(self) -> None:
        super().setup()
        self.server.connections += 1
        self.left = self.server.max_requests

    def do_GET(self) -> None:
        content = self.requestline.encode() + self.rfile.read(int(self.headers.get("content-length", 0)))
        self.send_response(418)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("X-Accept", self.headers.get("Accept", ""))
        self.end_headers()
        self.wfile.write(content)
        self.left -= 1
        self.close_connection = self.left == 0

    def do_POST(self) -> None:
        self.do_GET()

    def do_PUT(self) -> None:
        """Begin an answer and never end it: headers, or a body, a byte at a time."""
        try:
            if self.path.endswith("body"):
                self.send_response(200)
                self.end_headers()
            while not self.server.released.wait(0.02):
                self.wfile.write(b"x")
        except OSError:
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Write nothing."""


@pytest.fixture
def server() -> Iterator[EchoServer]:
    with EchoServer() as server:
        yield server
        server.released.set()
        server.shutdown()


def test_request_any_status_is_returned_with_headers_and_body(server: EchoServer) -> None:
    """The path is appended to the URL's own, and its query is kept; an error status is no exception."""
    with closing(HttpClient(server.url, timeout_s=10)) as client:
        response = client.request("GET", "/user/7", headers={"Accept": "application/json"})
        assert (response.status, response.body) == (418, b"GET /base/user/7?key=1 HTTP/1.1")
        assert response.headers["x-accept"] == "application/json"
        assert client.request("POST", "", b"body").body == b"POST /base/?key=1 HTTP/1.1body"


def test_requests_in_sequence_share_one_connection(server: EchoServer) -> None:
    """A connection that is idle is used again."""
    with closing(HttpClient(server.url, timeout_s=10)) as client:
        for _ in range(5):
            client.request("GET")
    assert server.connections == 1


def test_request_on_connection_closed_by_server_is_sent_again(server: EchoServer) -> None:
    """Each connection answers once and is closed silently; every request still gets its response."""
    server.max_requests = 1
    with closing(HttpClient(server.url, timeout_s=10)) as client:
        assert [client.request("GET").status for _ in range(3)] == [418] * 3
    assert server.connections == 3


@pytest.mark.parametrize("part", ["headers", "body"])
def test_request_response_that_never_ends_fails(server: EchoServer, part: str) -> None:
    """The timeout bounds the whole response, not each of its bytes."""
    client = HttpClient(server.url.partition("?")[0], timeout_s=0.2)
    with closing(client), pytest.raises(RequestFailed, match="TimeoutError"):
        client.request("PUT", part)


def test_request_after_slow_one_has_the_whole_timeout(server: EchoServer) -> None:
    """A reused connection does not keep the time that an earlier response left."""
    with closing(HttpClient(server.url, timeout_s=5)) as client:
        client.request("GET")
        (connection,) = client._idle.queue
        assert connection.sock.gettimeout() == 5


def test_request_without_listener_raises_request_failed() -> None:
    """The error names the cause and not the URL, which may be a secret."""
    url = f"http://127.0.0.1:{free_port()}/secret"
    with pytest.raises(RequestFailed, match="ConnectionRefusedError") as caught:
        HttpClient(url, timeout_s=1).request("GET")
    assert "secret" not in str(caught.value)
