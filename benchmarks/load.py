"""A closed loop of keep-alive connections in one thread: little enough work that the server is what is measured."""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class LoadResult:
    """What came of it: ``ms`` of each answer, in the order they came; ``failed`` is any but 200."""

    seconds: float = 0.0
    ms: list[float] = field(default_factory=list)
    failed: int = 0
    processor_us: float = 0.0
    """What a request took the server, where who asked for the load measured it."""

    @property
    def per_second(self) -> float:
        return len(self.ms) / self.seconds

    def percentile(self, fraction: float) -> float:
        return sorted(self.ms)[min(len(self.ms) - 1, int(fraction * len(self.ms)))]


@dataclass
class _Caller:
    connection: socket.socket
    received: bytearray = field(default_factory=bytearray)
    asked: float = 0.0


def load(port: int, path: Callable[[int], str], *, connections: int, seconds: float) -> LoadResult:
    """Ask ``path(number)`` over and over; each connection asks again when it was answered."""
    result, number = LoadResult(), 0
    with selectors.DefaultSelector() as selector:
        callers = [_Caller(socket.create_connection(("127.0.0.1", port))) for _ in range(connections)]
        started = time.perf_counter()
        for caller in callers:
            caller.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            selector.register(caller.connection, selectors.EVENT_READ, caller)
            number = _ask(caller, path, number)
        while (now := time.perf_counter()) - started < seconds:
            for key, _ in selector.select(1.0):
                caller = key.data
                status = _answered(caller)
                if status is None:
                    continue
                result.ms.append((time.perf_counter() - caller.asked) * 1000)
                result.failed += status != 200
                number = _ask(caller, path, number)
        result.seconds = now - started
        for caller in callers:
            caller.connection.close()
    return result


def _ask(caller: _Caller, path: Callable[[int], str], number: int) -> int:
    caller.asked = time.perf_counter()
    caller.connection.sendall(b"GET %s HTTP/1.1\r\nHost: bench\r\n\r\n" % path(number).encode())
    return number + 1


def _answered(caller: _Caller) -> int | None:
    """The status, once all of the answer is there. A connection that is gone counts as status 0."""
    piece = caller.connection.recv(65_536)
    if not piece:
        caller.connection.close()
        raise ConnectionError("the server closed a connection under load")
    caller.received += piece
    head, blank, body = bytes(caller.received).partition(b"\r\n\r\n")
    if not blank:
        return None
    lower = head.lower()
    length = int(lower.partition(b"content-length:")[2].split(b"\r\n", 1)[0])
    if len(body) < length:
        return None
    caller.received.clear()
    return int(head.split(b" ", 2)[1])
