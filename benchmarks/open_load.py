"""Open-loop HTTP load: requests are sent at a steady rate, whether or not earlier ones were answered."""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field

MAX_CONNECTIONS = 900
"""Limit of open connections, below the thousand that gunicorn holds."""


@dataclass
class OpenLoadResult:
    """Numbers of requests: sent, answered with 200 in time, refused with 503, and given up at the time-out."""

    seconds: float
    sent: int = 0
    in_time: int = 0
    refused: int = 0
    late: int = 0
    skipped: int = 0

    @property
    def goodput(self) -> float:
        """Answers in time per second."""
        return self.in_time / self.seconds


@dataclass
class _PooledConnection:
    socket: socket.socket
    received: bytearray = field(default_factory=bytearray)
    sent_at: float = 0.0


class _OpenLoop:
    def __init__(self, port: int, path: Callable[[int], str], timeout_s: float, seconds: float) -> None:
        self.result = OpenLoadResult(seconds)
        self._port, self._path, self._timeout_s = port, path, timeout_s
        self._selector = selectors.DefaultSelector()
        self._idle: list[_PooledConnection] = []
        self._busy: dict[int, _PooledConnection] = {}

    def send(self) -> None:
        """Send one request on an idle connection, or on a new one."""
        connection = self._idle.pop() if self._idle else self._connect()
        if connection is None:
            self.result.skipped += 1
            return
        request = f"GET {self._path(self.result.sent)} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
        connection.sent_at = time.perf_counter()
        self.result.sent += 1
        try:
            connection.socket.sendall(request.encode())
        except OSError:  # The server has closed an idle connection.
            self._drop(connection)
            return
        self._busy[connection.socket.fileno()] = connection

    def receive(self, wait_s: float) -> None:
        """Read the answers that arrive within ``wait_s``, and give up the requests that are too old."""
        for key, _ in self._selector.select(max(wait_s, 0)):
            self._read(key.data)
        now = time.perf_counter()
        for connection in list(self._busy.values()):  # In the order of sending.
            if now - connection.sent_at < self._timeout_s:
                break
            self.result.late += 1
            self._drop(connection)

    def finish(self) -> None:
        """Wait for the last answers and close everything."""
        while self._busy:
            self.receive(0.01)
        for connection in self._idle:
            connection.socket.close()
        self._selector.close()

    def _connect(self) -> _PooledConnection | None:
        if len(self._busy) >= MAX_CONNECTIONS:
            return None
        connection = _PooledConnection(socket.create_connection(("127.0.0.1", self._port)))
        connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._selector.register(connection.socket, selectors.EVENT_READ, connection)
        return connection

    def _read(self, connection: _PooledConnection) -> None:
        try:
            piece = connection.socket.recv(65_536)
        except OSError:
            piece = b""
        if not piece:
            self._drop(connection)
            return
        connection.received += piece
        head, blank, body = bytes(connection.received).partition(b"\r\n\r\n")
        if not blank or len(body) < int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0]):
            return
        connection.received.clear()
        del self._busy[connection.socket.fileno()]
        status = int(head.split(b" ", 2)[1])
        self.result.in_time += status == 200 and time.perf_counter() - connection.sent_at <= self._timeout_s
        self.result.refused += status == 503
        self._idle.append(connection)

    def _drop(self, connection: _PooledConnection) -> None:
        self._busy.pop(connection.socket.fileno(), None)
        if connection in self._idle:
            self._idle.remove(connection)
        self._selector.unregister(connection.socket)
        connection.socket.close()


def open_load(
    port: int, path: Callable[[int], str], *, rate: float, seconds: float, timeout_s: float = 0.6
) -> OpenLoadResult:
    """Request ``path(0)``, ``path(1)`` ... at ``rate`` per second; an answer counts within ``timeout_s``."""
    loop = _OpenLoop(port, path, timeout_s, seconds)
    started, planned = time.perf_counter(), 0
    while (elapsed := time.perf_counter() - started) < seconds:
        while planned < elapsed * rate:
            loop.send()
            planned += 1
        loop.receive(planned / rate - elapsed)
    loop.finish()
    return loop.result
