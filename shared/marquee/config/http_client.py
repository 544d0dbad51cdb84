"""HTTP client with persistent connections, on the standard library alone."""

from __future__ import annotations

from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from io import BufferedReader, RawIOBase
from queue import Empty, LifoQueue
from socket import socket
from time import monotonic
from types import MappingProxyType
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from marquee.errors import RequestFailed

_NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class HttpResponse(NamedTuple):
    """Status, headers by lower-case name, and the whole body."""

    status: int
    headers: dict[str, str]
    body: bytes


def retry_after_s(response: HttpResponse) -> float:
    """Return the seconds of ``Retry-After``; 0 without one, or for a date, because clocks differ."""
    value = response.headers.get("retry-after", "")
    return float(value) if value.isascii() and value.isdecimal() else 0.0


class _DeadlineReader(RawIOBase):
    """Reader of a socket with one time limit for all reads, however little each of them brings."""

    def __init__(self, raw: RawIOBase, connection: socket) -> None:
        self._raw, self._socket = raw, connection
        self._timeout_s = connection.gettimeout() or 0.0
        self._deadline = monotonic() + self._timeout_s

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        remaining = self._deadline - monotonic()
        if remaining <= 0:
            raise TimeoutError("the response did not end in time")
        self._socket.settimeout(remaining)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        if not self.closed:
            if self._socket.fileno() >= 0:
                self._socket.settimeout(self._timeout_s)  # For the next request.
            self._raw.close()
            super().close()


class _BoundedResponse(HTTPResponse):
    """A response that must end within the timeout of its connection."""

    def __init__(self, sock: socket, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        self.fp = BufferedReader(_DeadlineReader(self.fp.detach(), sock))


class HttpClient:
    """Client of one ``http`` or ``https`` URL. Safe to share between threads.

    Idle connections are reused. ``timeout_s`` bounds the connect, the sending, and the whole response. Redirects are
    not followed, and every status is returned, not raised. With ``max_bytes``, a larger body is a failure.
    """

    def __init__(self, url: str, *, timeout_s: float, max_bytes: int | None = None) -> None:
        parts = urlsplit(url)
        self._connection_type = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        self._host, self._port = parts.hostname or "", parts.port
        self._path, self._query = parts.path, f"?{parts.query}" if parts.query else ""
        self._timeout_s, self._max_bytes = timeout_s, max_bytes
        self._idle: LifoQueue[HTTPConnection] = LifoQueue()
        self._closed = False

    def request(
        self, method: str, path: str = "", body: bytes | None = None, headers: Mapping[str, str] = _NO_HEADERS
    ) -> HttpResponse:
        """Send one request to the URL, with ``path`` appended to its path.

        A reused connection may have been closed by the server. The request is then sent once more over a new one.

        Raises :class:`RequestFailed` if no response arrived. Its message never contains the URL, which may be a secret.
        """
        target = (self._path.rstrip("/") + path if path else self._path or "/") + self._query
        try:
            try:
                return self._send(self._idle.get_nowait(), method, target, body, headers)
            except (Empty, ConnectionError):
                return self._send(self._connect(), method, target, body, headers)
        except (OSError, HTTPException) as error:
            raise RequestFailed(f"{type(error).__name__}: {error}") from error

    def close(self) -> None:
        """Close the idle connections, and each other one after its request."""
        self._closed = True
        while not self._idle.empty():
            self._idle.get_nowait().close()

    def _connect(self) -> HTTPConnection:
        connection = self._connection_type(self._host, self._port, timeout=self._timeout_s)
        connection.response_class = _BoundedResponse
        return connection

    def _send(
        self,
        connection: HTTPConnection,
        method: str,
        target: str,
        body: bytes | None,
        headers: Mapping[str, str],
    ) -> HttpResponse:
        try:
            connection.request(method, target, body, dict(headers))
            response = connection.getresponse()
            content = response.read(None if self._max_bytes is None else self._max_bytes + 1)
            if self._max_bytes is not None and len(content) > self._max_bytes:
                raise HTTPException(f"the body is larger than {self._max_bytes:,} bytes")
        except BaseException:
            connection.close()
            raise
        if self._closed:
            connection.close()
        else:
            self._idle.put(connection)
        return HttpResponse(response.status, {k.lower(): v for k, v in response.getheaders()}, content)
