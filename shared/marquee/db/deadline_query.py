"""Read queries with a deadline that holds even if the database or the network hangs.

A query takes one round trip: the server's time limit, the query and its transaction are one message. Times come in
UTC, because a server's zone could move the ends of the calendar out of Python's range. The client's time limit needs
libpq's asynchronous mode, because a blocking call waits as long as the kernel allows.
"""

from __future__ import annotations

import select
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

import psycopg2
from psycopg2.extensions import POLL_OK, POLL_READ

from marquee.db.connections import connect, is_alive, translate
from marquee.errors import DatabaseBusy, DatabaseUnavailable, DataRefused

Rows = list[tuple[Any, ...]]


class DeadlineConnections:
    """Up to ``size`` connections, each opened when all others are in use."""

    def __init__(self, url: str, connect_timeout_s: float, size: int) -> None:
        self._size = size
        self._connections = [DeadlineConnection(url, connect_timeout_s) for _ in range(size)]
        self.begin_process()

    def read(self, query: str, parameters: Mapping[str, object] | Sequence[object], deadline_ms: int) -> Rows:
        """Return the rows of a read-only query.

        Raises :class:`DatabaseUnavailable` after ``deadline_ms``, or :class:`DatabaseBusy` if the connections were
        in use all the time.
        """
        deadline = time.monotonic() + deadline_ms / 1000
        if not self._free.acquire(timeout=deadline_ms / 1000):
            raise DatabaseBusy(_deadline_message(deadline_ms, "other reads were running"))
        try:
            connection = self._idle.pop()  # The one used last: the others are opened only when they are needed.
            try:
                return connection.read(query, parameters, deadline, deadline_ms)
            finally:
                self._idle.append(connection)
        finally:
            self._free.release()

    def begin_process(self) -> None:
        """Forget the connections after a fork; the parent process owns them and closes them."""
        for connection in self._connections:
            connection.begin_process()
        self._idle = self._connections[::-1]
        self._free = threading.BoundedSemaphore(self._size)

    def close(self) -> None:
        """Close the connections; the next read opens another."""
        for connection in self._connections:
            connection.close()


class DeadlineConnection:
    """One connection, opened on first use, that threads use one at a time.

    A connection that takes longer to open than one deadline continues to open, for later calls.
    """

    def __init__(self, url: str, connect_timeout_s: float) -> None:
        self._url = url
        self._connect_timeout_s = connect_timeout_s
        self._connection: Any = None
        self._inherited: list[Any] = []
        self.begin_process()

    def read(
        self,
        query: str,
        parameters: Mapping[str, object] | Sequence[object],
        deadline: float,
        deadline_ms: int,
    ) -> Rows:
        """Return the rows of a read-only query.

        ``deadline_ms`` is the server's limit, and the one named in messages. Raises :class:`DatabaseUnavailable` at
        ``deadline`` of the monotonic clock.
        """
        with self._lock:
            try:
                return self._read(query, parameters, deadline, deadline_ms)
            except (psycopg2.Error, UnicodeDecodeError) as error:
                self._drop()
                raise translate(error) from error
            except (ValueError, OverflowError) as error:  # Of the driver's conversion to Python's types.
                self._drop()
                raise DataRefused(f"the database returned a value that Python cannot hold: {error}") from error
            except BaseException:
                self._drop_unless_connecting()
                raise

    def begin_process(self) -> None:
        """Forget the connection after a fork; the parent process owns it and closes it."""
        self._inherited.append(self._connection)
        self._connection = None
        self._connecting = False
        self._connect_by = 0.0
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close the connection; the next read opens another."""
        with self._lock:
            self._drop()

    def _read(self, query: str, parameters: Any, deadline: float, deadline_ms: int) -> Rows:
        connection = self._open_connection(deadline, deadline_ms)
        with connection.cursor() as cursor:
            limits = f"SET LOCAL statement_timeout = {deadline_ms:d}; SET LOCAL TimeZone = 'UTC'; "
            cursor.execute(limits + query, parameters)
            if not _wait(connection, deadline):
                raise _deadline_passed(deadline_ms, "the query took longer")
            rows: Rows = cursor.fetchall()
            return rows

    def _open_connection(self, deadline: float, deadline_ms: int) -> Any:
        if self._connection is not None and not self._connecting and not is_alive(self._connection):
            self._drop()
        if self._connection is None or (self._connecting and time.monotonic() > self._connect_by):
            self._drop()
            self._connecting, self._connect_by = True, time.monotonic() + self._connect_timeout_s
            self._connection = connect(self._url, self._connect_timeout_s, asynchronous=True)
        if self._connecting:
            if not _wait(self._connection, deadline):
                raise _deadline_passed(deadline_ms, "connecting took longer")
            self._connecting = False
        return self._connection

    def _drop_unless_connecting(self) -> None:
        if not self._connecting:
            self._drop()

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection, self._connecting = None, False


def _wait(connection: Any, deadline: float) -> bool:
    """Wait until ``connection`` is idle; return False if the deadline passes first."""
    while (state := connection.poll()) != POLL_OK:
        remaining_ms = (deadline - time.monotonic()) * 1000
        if remaining_ms <= 0:
            return False
        waiter = select.poll()
        waiter.register(connection.fileno(), select.POLLIN if state == POLL_READ else select.POLLOUT)
        waiter.poll(remaining_ms)
    return True


def _deadline_passed(deadline_ms: int, reason: str) -> DatabaseUnavailable:
    return DatabaseUnavailable(_deadline_message(deadline_ms, reason))


def _deadline_message(deadline_ms: int, reason: str) -> str:
    return f"The database did not answer within {deadline_ms} ms: {reason}"
