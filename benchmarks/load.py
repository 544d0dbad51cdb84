"""Closed-loop HTTP load over keep-alive connections, in one thread so that the client costs little."""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class LoadResult:
    """Latencies in ``ms`` in the order of the answers; ``failed`` counts each status but 200.

    ``processor_us`` is the server's processor time per request, if it was measured.
    """

    seconds: float = 0.0
    ms: list[float] = field(default_factory=list)
    failed: int = 0
    processor_us: float = 0.0

    @property
    def per_second(self) -> float:
        """Answers per second."""
        return len(self.ms) / self.seconds

    def percentile(self, fraction: float) -> float:
        """Return the latency in ms below which ``fraction`` of the answers came."""
        return sorted(self.ms)[min(len(self.ms) - 1, int(fraction * len(self.ms)))]


@dataclass
class _Connection:
    socket: socket.socket
    received: bytearray = field(default_factory=bytearray)
    sent_at: float = 0.0


def load(port: int, path: Callable[[int], str], *, connections: int, seconds: float, accept: str = "*/*") -> LoadResult:
    """Request ``path(0)``, ``path(1)`` ... for some seconds; each connection sends its next request after an answer.

    Raises ``ConnectionError`` if the server closes a connection.
    """
    result, number = LoadResult(), 0
    head = f"HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: {accept}\r\n\r\n".encode()
    with selectors.DefaultSelector() as selector:
        opened = [_Connection(socket.create_connection(("127.0.0.1", port))) for _ in range(connections)]
        started = time.perf_counter()
        for connection in opened:
            connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            selector.register(connection.socket, selectors.EVENT_READ, connection)
            number = _send_request(connection, path, number, head)
        while (now := time.perf_counter()) - started < seconds:
            for key, _ in selector.select(1.0):
                connection = key.data
                status = _receive(connection)
                if status is None:
                    continue
                result.ms.append((time.perf_counter() - connection.sent_at) * 1000)
                result.failed += status != 200
                number = _send_request(connection, path, number, head)
        result.seconds = now - started
        for connection in opened:
            connection.socket.close()
    return result


def _send_request(connection: _Connection, path: Callable[[int], str], number: int, head: bytes) -> int:
    """Send request ``number`` with ``head`` after its path; return the number of the next one."""
    connection.sent_at = time.perf_counter()
    connection.socket.sendall(b"GET %s %s" % (path(number).encode(), head))
    return number + 1


def _receive(connection: _Connection) -> int | None:
    """Read what has arrived; return the status once the answer is complete."""
    piece = connection.socket.recv(65_536)
    if not piece:
        connection.socket.close()
        raise ConnectionError("the server closed a connection under load")
    connection.received += piece
    head, blank, body = bytes(connection.received).partition(b"\r\n\r\n")
    if not blank:
        return None
    length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
    if len(body) < length:
        return None
    connection.received.clear()
    return int(head.split(b" ", 2)[1])
