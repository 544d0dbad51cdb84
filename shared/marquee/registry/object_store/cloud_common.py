"""What the cloud stores share: names, patience, and writes whose answer was lost.

The client libraries' own retries are off. A conditional write that is sent again can be refused
because its first try arrived, and only who counts the tries can tell that from another's write.
"""

from __future__ import annotations

import random
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar, overload

from marquee.errors import MarqueeError, ObjectNotFound, ObjectStoreUnavailable, PreconditionFailed
from marquee.registry.object_store.object_store import Content, Object, Version, check_name, check_prefix

T = TypeVar("T")
PIECE = 8 << 20
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 2.0


class CloudStore(ABC):
    """An :class:`~marquee.registry.object_store.object_store.ObjectStore` of one bucket, below ``prefix``.

    A call gives up when ``timeout_s`` have passed since it began, or when the try that was under way
    then has failed, which takes no longer than ``timeout_s`` again.
    """

    scheme: str

    def __init__(self, bucket: str, prefix: str = "", *, timeout_s: float = 20.0) -> None:
        self.bucket = bucket
        self.prefix = check_prefix(prefix.strip("/"))
        self.timeout_s = timeout_s

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._place()!r})"

    @overload
    def get(self, name: str) -> Object: ...
    @overload
    def get(self, name: str, *, if_changed_from: Version | None) -> Object | None: ...
    def get(self, name: str, *, if_changed_from: Version | None = None) -> Object | None:
        key = self._key(name)
        return self._patiently(name, lambda: self._get(key, if_changed_from))

    def read_range(self, name: str, start: int, length: int) -> bytes:
        if start < 0 or length < 0:
            raise ValueError(f"a range has no negative numbers: start {start}, length {length}")
        key = self._key(name)
        if length == 0:
            self._patiently(name, lambda: self._head(key))
            return b""
        return self._patiently(name, lambda: self._range(key, start, length))

    def put_new(self, name: str, data: Content) -> Version:
        return self._write(name, data, None)

    def replace(self, name: str, data: bytes, expected: Version | None) -> Version:
        return self._write(name, data, expected)

    def list(self, prefix: str) -> Iterator[str]:
        start = self._below(check_prefix(prefix))
        cut = len(self._below(""))
        names = self._patiently(prefix, lambda: [key[cut:] for key in self._list(start)])
        yield from sorted(names, key=str.encode)

    def delete(self, name: str) -> None:
        key = self._key(name)
        try:
            self._patiently(name, lambda: self._delete(key))
        except ObjectNotFound:
            pass

    @abstractmethod
    def _get(self, key: str, since: Version | None) -> Object | None: ...
    @abstractmethod
    def _head(self, key: str) -> Version: ...
    @abstractmethod
    def _range(self, key: str, start: int, length: int) -> bytes: ...
    @abstractmethod
    def _put(self, key: str, data: Content, expected: Version | None) -> Version: ...
    @abstractmethod
    def _list(self, prefix: str) -> Iterator[str]: ...
    @abstractmethod
    def _delete(self, key: str) -> None: ...
    @abstractmethod
    def _translated(self, name: str, error: Exception) -> MarqueeError | None:
        """Our error for one of the client library's; None for one that is neither's."""

    def _place(self) -> str:
        return f"{self.scheme}://{self.bucket}" + (f"/{self.prefix}" if self.prefix else "")

    def _key(self, name: str) -> str:
        return self._below(check_name(name))

    def _below(self, name: str) -> str:
        return f"{self.prefix}/{name}" if self.prefix else name

    def _write(self, name: str, data: Content, expected: Version | None) -> Version:
        key, tries = self._key(name), 0

        def put() -> Version:
            nonlocal tries
            tries += 1
            return self._put(key, data, expected)

        try:
            return self._patiently(name, put)
        except ObjectNotFound as error:
            raise PreconditionFailed(f"{name!r} in {self._place()} was not written: it is gone") from error
        except PreconditionFailed:
            written = self._patiently(name, lambda: self._ours(key, data)) if tries > 1 else None
            if written is None:
                raise
            return written

    def _ours(self, key: str, data: Content) -> Version | None:
        """The object's version if it holds ``data``: then an earlier try had arrived after all."""
        try:
            if isinstance(data, Path):
                version = self._head(key)
                return version if self._holds(key, data) else None
            found = self._get(key, None)
        except ObjectNotFound:
            return None
        return found.version if found and found.data == data else None

    def _holds(self, key: str, path: Path) -> bool:
        with path.open("rb") as file:
            for start in range(0, path.stat().st_size + 1, PIECE):
                if self._range(key, start, PIECE) != file.read(PIECE):
                    return False
        return True

    def _patiently(self, name: str, call: Callable[[], T]) -> T:
        deadline, pause = time.monotonic() + self.timeout_s, _FIRST_PAUSE_S
        while True:
            try:
                return self._once(name, call)
            except ObjectStoreUnavailable:
                # Spread, so that many instances do not come back at one moment.
                wait = pause * random.uniform(0.5, 1.0)
                if time.monotonic() + wait > deadline:
                    raise
            time.sleep(wait)
            pause = min(2 * pause, _LONGEST_PAUSE_S)

    def _once(self, name: str, call: Callable[[], T]) -> T:
        try:
            return call()
        except MarqueeError:
            raise
        except Exception as error:
            ours = self._translated(name, error)
            if ours is None:
                raise
            raise ours from error
