"""A process that is killed at a chosen step: its calls to a database and an object store, each with a step on both
sides of its effect."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

from marquee.db.pool import Database
from marquee.registry.object_store.object_store import ObjectStore


class Killed(BaseException):
    """The end of the process, which no handler of errors catches."""


class DyingProcess:
    """Wraps what a process uses. ``dies_at`` is the number of the step at which it ends, and every later one."""

    def __init__(self, dies_at: float = float("inf")) -> None:
        self.steps = 0
        self._dies_at = dies_at

    def step(self) -> None:
        self.steps += 1
        if self.steps >= self._dies_at:
            raise Killed

    def use_database(self, database: Database) -> Database:
        return cast(Database, _DyingDatabase(database, self))

    def use_store(self, store: ObjectStore) -> ObjectStore:
        return cast(ObjectStore, _DyingObjects(store, self))


class _DyingDatabase:
    """A transaction is rolled back if the process ends before its commit."""

    def __init__(self, database: Database, process: DyingProcess) -> None:
        self._database = database
        self._process = process

    def read(self, *arguments: Any, **deadline: Any) -> Any:
        self._process.step()
        return self._database.read(*arguments, **deadline)

    @contextmanager
    def transaction(self, **deadline: Any) -> Iterator[Any]:
        with self._database.transaction(**deadline) as cursor:
            yield cursor
            self._process.step()
        self._process.step()


class _DyingObjects:
    def __init__(self, store: ObjectStore, process: DyingProcess) -> None:
        self._store = store
        self._process = process

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)

        def call(*arguments: Any, **condition: Any) -> Any:
            self._process.step()
            result = method(*arguments, **condition)
            if name in ("put_new", "replace", "delete"):
                self._process.step()
            return result

        return call
