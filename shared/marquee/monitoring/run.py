"""One run of the monitor: all tasks in order, isolated from each other's failures, one run at a time.

The lock is a transaction-level advisory lock of PostgreSQL. It works through PgBouncer in transaction mode and is
released with the connection of a run that is killed. It only saves work: tasks are idempotent, and two at once write
the same rows.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

import msgspec

from marquee.db.pool import Database
from marquee.errors import DatabaseUnavailable, TransientError
from marquee.registry.object_store.object_store import ObjectStore

_log = logging.getLogger(__name__)
# Differs from the lock of the migrations.
_LOCK = 0x4D4F4E49
_MAX_IDLE_MS = 900_000
"""A run that is suspended for longer loses its lock."""

_RECORD = """
INSERT INTO monitor_runs (time, task, rows, seconds, error) VALUES (%s, %s, %s, %s, %s)
ON CONFLICT (time, task) DO UPDATE SET rows = excluded.rows, seconds = excluded.seconds, error = excluded.error"""


class Task(msgspec.Struct, frozen=True):
    """Task of the monitor. ``run(database, store, now)`` updates tables and returns the number of rows written.

    It is idempotent and may be killed at any time.
    """

    name: str
    run: Callable[[Database, ObjectStore, datetime], int]


class TaskResult(msgspec.Struct, frozen=True):
    """Result of a task. ``error`` is empty after a success; ``transient`` errors may disappear on their own."""

    task: str
    rows: int
    seconds: float
    error: str = ""
    transient: bool = False


class RunSummary(msgspec.Struct, frozen=True):
    """Summary of a run. ``ran`` is False if another run held the lock."""

    time: datetime
    ran: bool
    tasks: tuple[TaskResult, ...] = ()

    @property
    def failed(self) -> bool:
        """Return True if a task failed."""
        return any(result.error for result in self.tasks)

    @property
    def transient(self) -> bool:
        """Return True if all failures are transient."""
        return all(result.transient for result in self.tasks if result.error)


def run_monitor(
    database: Database,
    store: ObjectStore,
    tasks: Sequence[Task],
    *,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> RunSummary:
    """Run the tasks unless another run holds the lock. ``database`` needs two connections, one for the lock.

    Raises :class:`DatabaseUnavailable` or :class:`DatabaseRefused` if the lock cannot be acquired.
    """
    now = clock()
    with _exclusive_lock(database) as acquired:
        if not acquired:
            return RunSummary(now, False)
        return RunSummary(now, True, tuple(_run_and_record(database, store, task, now) for task in tasks))


@contextmanager
def _exclusive_lock(database: Database) -> Iterator[bool]:
    with database.transaction() as cursor:
        cursor.execute("SET LOCAL idle_in_transaction_session_timeout = %s", (_MAX_IDLE_MS,))
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", (_LOCK,))
        yield bool(cursor.fetchone()[0])


def _run_and_record(database: Database, store: ObjectStore, task: Task, now: datetime) -> TaskResult:
    result = _run_task(database, store, task, now)
    try:
        with database.transaction() as cursor:
            cursor.execute(_RECORD, (now, result.task, result.rows, result.seconds, result.error))
    except DatabaseUnavailable as error:
        _log.error("The run of %s could not be recorded: %s", task.name, error)
        # The task succeeded, but the database became unavailable afterwards.
        if not result.error:
            return msgspec.structs.replace(result, error=str(error), transient=True)
    return result


def _run_task(database: Database, store: ObjectStore, task: Task, now: datetime) -> TaskResult:
    start = time.monotonic()
    try:
        rows, error = task.run(database, store, now), None
    except Exception as failure:  # The other tasks still run.
        _log.exception("%s failed", task.name)
        rows, error = 0, failure
    seconds = round(time.monotonic() - start, 3)
    _log.info("%s: %d rows in %.1f s", task.name, rows, seconds)
    if error is None:
        return TaskResult(task.name, rows, seconds)
    return TaskResult(task.name, rows, seconds, f"{type(error).__name__}: {error}", isinstance(error, TransientError))
