"""Fakes of services that fail on demand."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

from marquee.errors import DeliveryFailed, ObjectStoreUnavailable
from marquee.events.batches import Impression, ImpressionBatch
from marquee.events.envelopes import Envelope, open_envelope
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


class FakeDelivery:
    """A delivery that waits for ``gate`` and then accepts each envelope, or fails with ``error`` if that is set."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.error: Exception | None = None
        self.attempts = 0
        self.batches: list[ImpressionBatch] = []
        self.closed = False
        self._changed = threading.Condition()

    def submit(self, envelope: Envelope) -> Future[None]:
        future: Future[None] = Future()
        self.gate.wait(10)
        with self._changed:
            self.attempts += 1
            if self.error is not None:
                future.set_exception(self.error)
            else:
                batch = open_envelope(envelope)
                assert isinstance(batch, ImpressionBatch)
                self.batches.append(batch)
                future.set_result(None)
            self._changed.notify_all()
        return future

    def close(self) -> None:
        self.closed = True

    @property
    def impressions(self) -> list[Impression]:
        return [impression for batch in self.batches for impression in batch.impressions]

    def wait_for(self, impressions: int = 0, attempts: int = 0) -> None:
        """Wait for a number of delivered impressions and of attempts."""
        with self._changed:
            assert self._changed.wait_for(
                lambda: len(self.impressions) >= impressions and self.attempts >= attempts, 10
            )


DOWN = DeliveryFailed("the receiver is down in this test")
