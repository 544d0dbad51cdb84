"""An HTTP proxy of one server that records requests and applies faults."""

from __future__ import annotations

import http.client
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from urllib.parse import urlsplit

from tests.servers.http_thread import HttpThread


@dataclass(frozen=True)
class Request:
    """A client's request."""

    method: str
    path: str  # with its query
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Answer:
    """An answer that replaces the server's."""

    status: int
    body: bytes = b""


LOST = "lost"
"""The server handles the request, but the connection breaks before the answer."""

CUT = "cut"
"""The connection breaks within the answer's body."""

Fault = Callable[[Request], Answer | str | None]


@dataclass
class Proxy(HttpThread):
    """A proxy of ``upstream``.

    ``fault`` decides about each request: an :class:`Answer`, :data:`LOST`, :data:`CUT`, or None to forward it.
    """

    upstream: str
    fault: Fault = lambda request: None
    requests: list[Request] = field(default_factory=list)

    def __post_init__(self) -> None:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _handle(self) -> None:
                proxy._handle(self)

            do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _handle  # noqa: N815

            def log_message(self, *_: object) -> None: ...

        super().__init__(Handler)

    def _handle(self, client: BaseHTTPRequestHandler) -> None:
        body = client.rfile.read(int(client.headers.get("Content-Length", 0)))
        request = Request(client.command, client.path, dict(client.headers), body)
        self.requests.append(request)
        outcome = self.fault(request)
        if isinstance(outcome, Answer):
            return self._answer(client, outcome.status, {}, outcome.body)
        status, headers, answer = self._forward(request)
        if outcome == LOST:
            client.close_connection = True
            return None
        return self._answer(client, status, headers, answer, cut=outcome == CUT)

    def _forward(self, request: Request) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection(urlsplit(self.upstream).netloc, timeout=30)
        headers = {k: v for k, v in request.headers.items() if k.lower() not in ("host", "connection")}
        connection.request(request.method, request.path, request.body, headers)
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer.status, dict(answer.getheaders()), body

    def _answer(
        self,
        client: BaseHTTPRequestHandler,
        status: int,
        headers: dict[str, str],
        body: bytes,
        *,
        cut: bool = False,
    ) -> None:
        client.send_response(status)
        for name, value in headers.items():
            if name.lower() not in ("content-length", "transfer-encoding", "connection", "date", "server"):
                client.send_header(name, value)
        client.send_header("Content-Length", str(len(body)))
        client.end_headers()
        if client.command != "HEAD":
            client.wfile.write(body[: len(body) // 2] if cut else body)
        if cut:
            client.close_connection = True
