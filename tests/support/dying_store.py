"""An object store whose process dies at a chosen write."""

from __future__ import annotations

from typing import Any

from marquee.errors import ObjectStoreUnavailable
from marquee.registry.object_store.object_store import Content, ObjectStore, Version


class DyingStore:
    """Forwards to ``store`` until the write of object ``at``, or the one after ``max_writes``, which raises ``error``.

    ``names`` lists the objects that were written.
    """

    def __init__(
        self,
        store: ObjectStore,
        *,
        at: str | None = None,
        max_writes: int | None = None,
        error: BaseException | None = None,
    ) -> None:
        self.store = store
        self.names: list[str] = []
        self.max_writes = max_writes
        self._at = at
        self._error = error or ObjectStoreUnavailable("the store died in this test")

    def get(self, name: str, **condition: Any) -> Any:
        return self.store.get(name, **condition)

    def read_range(self, name: str, start: int, length: int) -> bytes:
        return self.store.read_range(name, start, length)

    def list(self, prefix: str) -> Any:
        return self.store.list(prefix)

    def delete(self, name: str) -> None:
        self.store.delete(name)

    def put_new(self, name: str, data: Content) -> Version:
        self._count_write(name)
        return self.store.put_new(name, data)

    def replace(self, name: str, data: bytes, expected: Version | None) -> Version:
        self._count_write(name)
        return self.store.replace(name, data, expected)

    def _count_write(self, name: str) -> None:
        if name == self._at or len(self.names) == self.max_writes:
            raise self._error
        self.names.append(name)
