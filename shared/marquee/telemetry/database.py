"""The one way to the database: a pool of a few connections a process, made when they are first needed.

Nothing is kept in a session: no prepared statement, no ``SET`` beyond a transaction. So PgBouncer in
transaction mode may stand between, and an instance that was frozen or forked loses nothing.
"""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg2
from psycopg2.extensions import TRANSACTION_STATUS_IDLE

from marquee.errors import DatabaseRefused, DatabaseUnavailable
from marquee.settings import masked

# Refusals that no repetition mends. All else (network, shutdown, disk full, deadlock, deadline) may pass.
_REFUSALS = (
    psycopg2.DataError,
    psycopg2.IntegrityError,
    psycopg2.ProgrammingError,
    psycopg2.NotSupportedError,
)


class Database:
    """The database at ``url``, safe to share between threads and across a fork.

    ``connections``: the most that this process opens; a thread that finds all in use waits up to
    ``wait_s``. ``statement_timeout_ms`` bounds each statement of a transaction that names no deadline.
    """

    def __init__(
        self,
        url: str,
        *,
        connections: int = 1,
        connect_timeout_s: int = 5,
        wait_s: float = 30.0,
        statement_timeout_ms: int = 30_000,
    ) -> None:
        self.url = url
        self._connections = connections
        self._connect_timeout_s = connect_timeout_s
        self._wait_s = wait_s
        self._statement_timeout_ms = statement_timeout_ms
        self._idle: list[Any] = []
        self._abandoned: list[Any] = []
        self._begin_process()

    def __repr__(self) -> str:
        return f"Database({masked(self.url)!r})"

    @contextmanager
    def transaction(self, *, deadline_ms: int | None = None) -> Iterator[Any]:
        """A cursor within one transaction: committed at the end, rolled back on any exception.

        ``deadline_ms`` bounds each statement. Raises DatabaseUnavailable where a repetition may help
        and DatabaseRefused where it cannot.
        """
        with self._borrowed() as connection, _translated(), connection.cursor() as cursor:
            cursor.execute(
                f"BEGIN; SET LOCAL statement_timeout = {deadline_ms or self._statement_timeout_ms:d}"
            )
            try:
                yield cursor
            except BaseException:
                _roll_back(connection, cursor)
                raise
            cursor.execute("COMMIT")

    def close(self) -> None:
        """Close the connections that are not in use; the next transaction opens one anew."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _begin_process(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._idle = []
        self._free = threading.BoundedSemaphore(self._connections)

    @contextmanager
    def _borrowed(self) -> Iterator[Any]:
        if self._pid != os.getpid():
            # The parent's connections: closing them here would end the parent's sessions.
            self._abandoned += self._idle
            self._begin_process()
        if not self._free.acquire(timeout=self._wait_s):
            raise DatabaseUnavailable(
                f"All {self._connections} connections were in use for {self._wait_s:g} s"
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
                return self._connect()
            if _alive(connection):
                return connection
            connection.close()

    def _connect(self) -> Any:
        try:
            connection = psycopg2.connect(
                self.url,
                connect_timeout=self._connect_timeout_s,
                application_name="marquee",
                tcp_user_timeout=15_000,
            )
        except psycopg2.Error as error:
            raise DatabaseUnavailable(f"No connection to {masked(self.url)}: {_reason(error)}") from error
        connection.autocommit = True  # We say BEGIN ourselves, in one message with its settings.
        return connection

    def _give_back(self, connection: Any) -> None:
        if connection.closed or connection.info.transaction_status != TRANSACTION_STATUS_IDLE:
            connection.close()
            return
        with self._lock:
            self._idle.append(connection)


def _alive(connection: Any) -> bool:
    """Whether an idle connection is still good; a server that went away made its socket readable."""
    if connection.closed:
        return False
    readable, _, _ = select.select([connection], [], [], 0)
    return not readable


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
    except _REFUSALS as error:
        raise DatabaseRefused(f"The database refuses: {_reason(error)}") from error
    except psycopg2.Error as error:
        raise DatabaseUnavailable(f"The database is away: {_reason(error)}") from error


def _reason(error: psycopg2.Error) -> str:
    return " ".join(str(error).split()) or type(error).__name__
