"""The one way to the database: a pool of a few connections a process, made when they are first needed.

Nothing is kept in a session: no prepared statement, no ``SET`` beyond a transaction. So PgBouncer in
transaction mode may stand between, and an instance that was frozen or forked loses nothing.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from weakref import WeakMethod

import psycopg2
from psycopg2.extensions import TRANSACTION_STATUS_IDLE

from marquee.config.fields import mask_password
from marquee.db.connections import connect, is_alive, translate
from marquee.db.deadline_query import DeadlineConnection, Rows
from marquee.errors import DatabaseUnavailable

_BEGIN = "BEGIN; SET LOCAL statement_timeout = %s; SET LOCAL idle_in_transaction_session_timeout = %s"
# An instance that is frozen in mid transaction loses it after so long, and with it the rows that it holds
# against the same batch coming to another instance.
_IDLE_MS = 30_000


class Database:
    """The database at ``url``, safe to share between threads and across a fork.

    ``connections``: the most that this process opens for transactions; a thread that finds all in use
    waits up to ``wait_s``. Reads with a deadline have one of their own. ``statement_timeout_ms`` bounds
    each statement of a transaction that names no deadline; 0 is none. ``copies``: whether COPY may be used,
    which not everything that speaks PostgreSQL's protocol understands.
    """

    def __init__(
        self,
        url: str,
        *,
        connections: int = 1,
        connect_timeout_s: float = 5.0,
        wait_s: float = 30.0,
        statement_timeout_ms: int = 30_000,
        copies: bool = True,
    ) -> None:
        self.url = url
        self.copies = copies
        self.connections = connections
        self._connect_timeout_s = connect_timeout_s
        self._wait_s = wait_s
        self._statement_timeout_ms = statement_timeout_ms
        self._reader = DeadlineConnection(url, connect_timeout_s)
        self._idle: list[Any] = []
        self._inherited: list[Any] = []
        self._begin_process()
        begin = WeakMethod(self._begin_process)
        os.register_at_fork(after_in_child=lambda: (method := begin()) and method())

    def __repr__(self) -> str:
        return f"Database({mask_password(self.url)!r})"

    @contextmanager
    def transaction(self, *, deadline_ms: int | None = None) -> Iterator[Any]:
        """A cursor within one transaction: committed at the end, rolled back on any exception.

        ``deadline_ms`` bounds each statement. Raises DatabaseUnavailable where a repetition may help,
        and DatabaseRefused where it cannot.
        """
        timeout_ms = self._statement_timeout_ms if deadline_ms is None else deadline_ms
        with self._borrowed() as connection, _translated(), connection.cursor() as cursor:
            cursor.execute(_BEGIN, (timeout_ms, _IDLE_MS))
            try:
                yield cursor
            except BaseException:
                _roll_back(connection, cursor)
                raise
            cursor.execute("COMMIT")

    def read(
        self, query: str, parameters: Mapping[str, object] | Sequence[object] = (), *, deadline_ms: int
    ) -> Rows:
        """The rows of one query, in one round trip, or DatabaseUnavailable after ``deadline_ms``.

        The deadline holds even where the database hangs, and covers connecting to it.
        """
        return self._reader.read(query, parameters, deadline_ms)

    @contextmanager
    def turn(self, *what: object) -> Iterator[None]:
        """Wait until no other thread of this process is at ``what``, as one would for a row in the database."""
        with self._lock:
            turn = self._turns.setdefault(what, threading.Lock())
        if not turn.acquire(timeout=self._wait_s):
            raise DatabaseUnavailable(f"Another writer was in the way for {self._wait_s:g} s")
        try:
            yield
        finally:
            turn.release()

    def close(self) -> None:
        """Close the connections that are not in use; the next call opens one anew."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()
        self._reader.close()

    def _begin_process(self) -> None:
        # After a fork the connections are the parent's: closing them would end the parent's sessions.
        self._inherited += self._idle
        self._idle = []
        self._lock = threading.Lock()
        self._turns: dict[tuple[object, ...], threading.Lock] = {}
        self._free = threading.BoundedSemaphore(self.connections)
        self._reader.begin_process()

    @contextmanager
    def _borrowed(self) -> Iterator[Any]:
        if not self._free.acquire(timeout=self._wait_s):
            raise DatabaseUnavailable(
                f"All {self.connections} connections were in use for {self._wait_s:g} s"
            )
        try:
            connection = self._open()
            try:
                yield connection
            finally:
                self._give_back(connection)
        finally:
            self._free.release()

    def _open(self) -> Any:
        while True:
            with self._lock:
                connection = self._idle.pop() if self._idle else None
            if connection is None:
                connection = connect(self.url, self._connect_timeout_s)
                connection.autocommit = True  # We say BEGIN ourselves, in one message with its settings.
                return connection
            if is_alive(connection):
                return connection
            connection.close()

    def _give_back(self, connection: Any) -> None:
        if connection.closed or connection.info.transaction_status != TRANSACTION_STATUS_IDLE:
            connection.close()
            return
        with self._lock:
            self._idle.append(connection)


def _roll_back(connection: Any, cursor: Any) -> None:
    try:
        if not connection.closed:
            cursor.execute("ROLLBACK")
    except psycopg2.Error:
        connection.close()


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except psycopg2.Error as error:
        raise translate(error) from error
