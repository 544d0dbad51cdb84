"""One run of the monitor: every task in turn, each failing alone; one run at a time, in whatever instance.

The lock is PostgreSQL's advisory lock of a transaction, so it holds through PgBouncer in transaction mode and
goes with the connection of a run that is killed. It spares work and is no more than that: every task may be
run twice at once, and writes the same rows.
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
_LOCK = 0x4D4F4E49  # Another number than the migrations'.
_LONGEST_MS = 900_000
"""A run that is frozen for longer loses its lock."""

_RECORD = """
INSERT INTO monitor_runs (time, task, rows, seconds, error) VALUES (%s, %s, %s, %s, %s)
ON CONFLICT (time, task) DO UPDATE SET rows = excluded.rows, seconds = excluded.seconds, error = excluded.error"""


class Task(msgspec.Struct, frozen=True):
    """``run(database, store, now)`` brings some tables up to date and returns how many rows it wrote. It may be
    killed at any moment, and run again, and leaves the same rows.
    """

    name: str
    run: Callable[[Database, ObjectStore, datetime], int]


class TaskResult(msgspec.Struct, frozen=True):
    """What came of one task; ``error`` is empty where it went well, ``transient`` whether it may go well later."""

    task: str
    rows: int
    seconds: float
    error: str = ""
    transient: bool = False


class RunSummary(msgspec.Struct, frozen=True):
    """``ran``: False where another run was at work, which will do."""

    time: datetime
    ran: bool
    tasks: tuple[TaskResult, ...] = ()

    @property
    def failed(self) -> bool:
        """Whether a task failed."""
        return any(done.error for done in self.tasks)

    @property
    def transient(self) -> bool:
        """Whether all that failed may go well later."""
        return all(done.transient for done in self.tasks if done.error)


def run_monitor(
    database: Database,
    store: ObjectStore,
    tasks: Sequence[Task],
    *,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> RunSummary:
    """Run the tasks unless another run is at it. ``database`` needs two connections: the lock has one.

    Raises :class:`DatabaseUnavailable` and :class:`DatabaseRefused` where not even the lock can be had.
    """
    now = clock()
    with _alone(database) as alone:
        if not alone:
            return RunSummary(now, False)
        return RunSummary(now, True, tuple(_recorded(database, store, task, now) for task in tasks))


@contextmanager
def _alone(database: Database) -> Iterator[bool]:
    with database.transaction() as cursor:
        cursor.execute("SET LOCAL idle_in_transaction_session_timeout = %s", (_LONGEST_MS,))
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", (_LOCK,))
        yield bool(cursor.fetchone()[0])


def _recorded(database: Database, store: ObjectStore, task: Task, now: datetime) -> TaskResult:
    done = _done(database, store, task, now)
    try:
        with database.transaction() as cursor:
            cursor.execute(_RECORD, (now, done.task, done.rows, done.seconds, done.error))
    except DatabaseUnavailable as error:
        _log.error("the run of %s could not be recorded: %s", task.name, error)
        if not done.error:  # What it wrote is written, but the database has gone since.
            return msgspec.structs.replace(done, error=str(error), transient=True)
    return done


def _done(database: Database, store: ObjectStore, task: Task, now: datetime) -> TaskResult:
    began = time.monotonic()
    try:
        rows, error = task.run(database, store, now), None
    except Exception as failure:  # Whatever it is, the other tasks have their turn.
        _log.exception("%s failed", task.name)
        rows, error = 0, failure
    seconds = round(time.monotonic() - began, 3)
    _log.info("%s: %d rows in %.1f s", task.name, rows, seconds)
    if error is None:
        return TaskResult(task.name, rows, seconds)
    return TaskResult(
        task.name, rows, seconds, f"{type(error).__name__}: {error}", isinstance(error, TransientError)
    )
