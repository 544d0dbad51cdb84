"""Tests of load shedding: the time that a request has waited, and who is refused."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from marquee.config.request_wait import LoadShedder, measure_wait_ms
from marquee.serving.instrumentation import OVERLOADED


@pytest.fixture
def connection() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Both ends of a connection: the client's and the server's."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        accepted, _ = server.accept()
        with client, accepted:
            yield client, accepted


def _make_environ(connection: socket.socket) -> dict[str, Any]:
    return {"gunicorn.socket": connection}


def test_measure_wait_counts_from_the_arrival(connection: tuple[socket.socket, socket.socket]) -> None:
    """The kernel counts, whether or not the server has read; each request starts at zero."""
    client, server = connection
    client.sendall(b"GET / HTTP/1.1\r\n\r\n")
    time.sleep(0.2)
    assert 150 <= measure_wait_ms(_make_environ(server)) < 5_000
    client.sendall(b"GET / HTTP/1.1\r\n\r\n")
    time.sleep(0.01)
    assert measure_wait_ms(_make_environ(server)) < 150


def test_measure_wait_without_a_tcp_connection_is_zero() -> None:
    """Another server or another kind of socket sheds nothing."""
    one, other = socket.socketpair()
    with one, other:
        assert measure_wait_ms(_make_environ(one)) == 0
    assert measure_wait_ms({}) == 0


def test_admit_late_request_while_another_is_answered_is_refused(
    connection: tuple[socket.socket, socket.socket],
) -> None:
    """It is admitted if the process has nothing else to do, such as after it was frozen."""
    client, server = connection
    client.sendall(b"x")
    time.sleep(0.1)
    late = _make_environ(server)
    shedder = LoadShedder(50)
    with shedder.admit(late) as alone:
        with shedder.admit(late) as second:
            assert (alone, second) == (True, False)
        with shedder.admit({}) as fresh:
            assert fresh
    assert shedder.shed == 1
    with shedder.admit(late) as admitted:
        assert admitted


def test_admit_without_limit_refuses_none(connection: tuple[socket.socket, socket.socket]) -> None:
    """The shedder of a function without a caller's time-out."""
    client, server = connection
    client.sendall(b"x")
    time.sleep(0.05)
    shedder = LoadShedder(0)
    with shedder.admit({}), shedder.admit(_make_environ(server)) as admitted:
        assert admitted


def test_overloaded_reply_says_when_to_try_again() -> None:
    """503 with Retry-After, which balancers and clients understand."""
    assert (OVERLOADED.status, OVERLOADED.headers["Retry-After"]) == (503, "1")
