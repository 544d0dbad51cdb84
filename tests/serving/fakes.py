"""Fakes of services that fail on demand."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from marquee.errors import DeliveryFailed, ObjectStoreUnavailable
from marquee.registry.object_store.file_store import FileStore


class FlakyStore:
    """A store that is unavailable while ``away`` is set and records its calls. Unlike a FileStore it maps no files."""

    def __init__(self, store: FileStore) -> None:
        self.store = store
        self.away = False
        self.calls: list[str] = []

    def _check_available(self, call: str) -> FileStore:
        self.calls.append(call)
        if self.away:
            raise ObjectStoreUnavailable("the store is away in this test")
        return self.store

    def get(self, name: str, **condition: Any) -> Any:
        return self._check_available(f"get {name}").get(name, **condition)

    def read_range(self, name: str, start: int, length: int) -> bytes:
        return self._check_available(f"read {name}").read_range(name, start, length)

    def put_new(self, name: str, data: Any) -> Any:
        return self._check_available(f"put {name}").put_new(name, data)

    def replace(self, name: str, data: bytes, expected: Any) -> Any:
        return self._check_available(f"replace {name}").replace(name, data, expected)

    def list(self, prefix: str) -> Iterator[str]:
        return self._check_available(f"list {prefix}").list(prefix)

    def delete(self, name: str) -> None:
        self._check_available(f"delete {name}").delete(name)


DOWN = DeliveryFailed("the receiver is down in this test")
