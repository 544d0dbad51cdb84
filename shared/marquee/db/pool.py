"""Connection pool of a process, with connections opened on first use.

No state is kept in a session: no prepared statements, no ``SET`` beyond a transaction. PgBouncer in
transaction mode works, and a process that was frozen or forked loses nothing.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from weakref import WeakMethod, WeakValueDictionary

import psycopg2
from psycopg2.extensions import TRANSACTION_STATUS_IDLE

from marquee.config.masking import mask_password
from marquee.db.connections import connect, is_alive, translate
from marquee.db.deadline_query import DeadlineConnections, Rows
from marquee.errors import DatabaseUnavailable

# The zone is set so that no default of the role or the database leads to times that psycopg2 cannot represent.
_BEGIN = (
    "BEGIN; SET LOCAL statement_timeout = %s; SET LOCAL idle_in_transaction_session_timeout = %s; "
    "SET LOCAL TimeZone = 'UTC'"
)
# The server ends the transaction of an instance that is frozen for this long, and releases its row locks for the
# instance that receives the same batch.
_IDLE_IN_TRANSACTION_MS = 30_000


class Database:
    """The database at ``url``, safe to share between threads and across a fork.

    ``connections`` is the maximum that this process opens for transactions; if all are in use, a thread
    waits up to ``wait_s`` seconds. ``readers`` is the maximum for reads with a deadline.
    ``statement_timeout_ms`` limits each statement of a transaction without a deadline; 0 means no limit.
    ``copies`` is False for a server that speaks PostgreSQL's protocol without COPY.
    """

    def __init__(
        self,
        url: str,
        *,
        connections: int = 1,
        readers: int = 1,
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
        self._readers = DeadlineConnections(url, connect_timeout_s, readers)
        self._idle: list[Any] = []
        self._inherited: list[Any] = []
        self._begin_process()
        begin = WeakMethod(self._begin_process)
        os.register_at_fork(after_in_child=lambda: (method := begin()) and method())

    def __repr__(self) -> str:
        return f"Database({mask_password(self.url)!r})"

    @contextmanager
    def transaction(self, *, deadline_ms: int | None = None) -> Iterator[Any]:
        """Provide a cursor in a transaction that commits at the end, and rolls back on any exception.

        ``deadline_ms`` limits each statement. Raises :class:`DatabaseUnavailable` if a retry may help, and
        :class:`DatabaseRefused` if it cannot.
        """
        timeout_ms = self._statement_timeout_ms if deadline_ms is None else deadline_ms
        with self._borrowed() as connection, _translated(), connection.cursor() as cursor:
            cursor.execute(_BEGIN, (timeout_ms, _IDLE_IN_TRANSACTION_MS))
            try:
                yield cursor
            except BaseException:
                _roll_back(connection, cursor)
                raise
            cursor.execute("COMMIT")

    def read(self, query: str, parameters: Mapping[str, object] | Sequence[object] = (), *, deadline_ms: int) -> Rows:
        """Return the rows of one query, in one round trip.

        The deadline holds even if the database hangs, and includes the time to connect. Raises
        :class:`DatabaseUnavailable` after ``deadline_ms``.
        """
        return self._readers.read(query, parameters, deadline_ms)

    @contextmanager
    def keyed_lock(self, *key: object) -> Iterator[None]:
        """Hold the lock of ``key`` among the threads of this process.

        Raises :class:`DatabaseUnavailable` if another thread holds it for too long.
        """
        with self._lock:
            lock = self._keyed_locks.setdefault(key, threading.Lock())
        if not lock.acquire(timeout=self._wait_s):
            raise DatabaseUnavailable(f"Another writer held the lock for {self._wait_s:g} s")
        try:
            yield
        finally:
            lock.release()

    @property
    def held_keys(self) -> int:
        """The number of keys whose lock a thread holds or waits for."""
        return len(self._keyed_locks)

    def close(self) -> None:
        """Close the connections that are not in use; the next call opens a new one."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()
        self._readers.close()

    def _begin_process(self) -> None:
        # After a fork the parent owns the connections: closing them here would end its sessions.
        self._inherited += self._idle
        self._idle = []
        self._lock = threading.Lock()
        # A lock lives as long as a thread uses it, so forged keys do not fill the memory.
        self._keyed_locks: WeakValueDictionary[tuple[object, ...], threading.Lock] = WeakValueDictionary()
        self._free = threading.BoundedSemaphore(self.connections)
        self._readers.begin_process()

    @contextmanager
    def _borrowed(self) -> Iterator[Any]:
        if not self._free.acquire(timeout=self._wait_s):
            raise DatabaseUnavailable(f"All {self.connections} connections were in use for {self._wait_s:g} s")
        try:
            connection = self._open()
            try:
                yield connection
            finally:
                self._return(connection)
        finally:
            self._free.release()

    def _open(self) -> Any:
        while True:
            with self._lock:
                connection = self._idle.pop() if self._idle else None
            if connection is None:
                connection = connect(self.url, self._connect_timeout_s)
                connection.autocommit = True  # `transaction` sends BEGIN in one message with its settings.
                return connection
            if is_alive(connection):
                return connection
            connection.close()

    def _return(self, connection: Any) -> None:
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
    except (psycopg2.Error, UnicodeDecodeError) as error:
        raise translate(error) from error
