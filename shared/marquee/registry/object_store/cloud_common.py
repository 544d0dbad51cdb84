"""Names, retries and lost responses, shared by the cloud stores.

The client libraries' own retries are off. A retried conditional write can be refused because its first attempt
succeeded and only the response was lost. Code that counts the attempts can tell that from a concurrent write.
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
CHUNK = 8 << 20
_FIRST_PAUSE_S, _MAX_PAUSE_S = 0.1, 2.0


class CloudStore(ABC):
    """:class:`~marquee.registry.object_store.object_store.ObjectStore` in one bucket, below ``prefix``.

    A call retries transient errors for ``timeout_s`` seconds. An attempt under way at that moment may take
    ``timeout_s`` more.
    """

    scheme: str

    def __init__(self, bucket: str, prefix: str = "", *, timeout_s: float = 20.0) -> None:
        self.bucket = bucket
        self.prefix = check_prefix(prefix.strip("/"))
        self.timeout_s = timeout_s

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._location()!r})"

    @overload
    def get(self, name: str) -> Object: ...
    @overload
    def get(self, name: str, *, if_changed_from: Version | None) -> Object | None: ...
    def get(self, name: str, *, if_changed_from: Version | None = None) -> Object | None:
        """See :class:`ObjectStore`."""
        key = self._key(name)
        return self._with_retries(name, lambda: self._get(key, if_changed_from))

    def read_range(self, name: str, start: int, length: int) -> bytes:
        """See :class:`ObjectStore`."""
        if start < 0 or length < 0:
            raise ValueError(f"start and length must not be negative; got {start} and {length}")
        key = self._key(name)
        if length == 0:
            self._with_retries(name, lambda: self._head(key))
            return b""
        return self._with_retries(name, lambda: self._range(key, start, length))

    def put_new(self, name: str, data: Content) -> Version:
        """See :class:`ObjectStore`."""
        return self._write(name, data, None)

    def replace(self, name: str, data: bytes, expected: Version | None) -> Version:
        """See :class:`ObjectStore`."""
        return self._write(name, data, expected)

    def list(self, prefix: str) -> Iterator[str]:
        """See :class:`ObjectStore`."""
        start = self._prefixed(check_prefix(prefix))
        cut = len(self._prefixed(""))
        names = self._with_retries(prefix, lambda: [key[cut:] for key in self._list(start)])
        yield from sorted(names, key=str.encode)

    def delete(self, name: str) -> None:
        """See :class:`ObjectStore`."""
        key = self._key(name)
        try:
            self._with_retries(name, lambda: self._delete(key))
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
    def _translate_error(self, name: str, error: Exception) -> MarqueeError | None:
        """Return the Marquee error for an error of the client library; None for any other error."""

    def _location(self) -> str:
        return f"{self.scheme}://{self.bucket}" + (f"/{self.prefix}" if self.prefix else "")

    def _key(self, name: str) -> str:
        return self._prefixed(check_name(name))

    def _prefixed(self, name: str) -> str:
        return f"{self.prefix}/{name}" if self.prefix else name

    def _write(self, name: str, data: Content, expected: Version | None) -> Version:
        key, attempts = self._key(name), 0

        def put() -> Version:
            nonlocal attempts
            attempts += 1
            return self._put(key, data, expected)

        try:
            return self._with_retries(name, put)
        except ObjectNotFound as error:
            raise PreconditionFailed(
                f"{name!r} in {self._location()} was not written: it does not exist any more"
            ) from error
        except PreconditionFailed:
            written = self._with_retries(name, lambda: self._find_own_write(key, data)) if attempts > 1 else None
            if written is None:
                raise
            return written

    def _find_own_write(self, key: str, data: Content) -> Version | None:
        """Return the object's version if it holds ``data``, written by an earlier attempt; None otherwise."""
        try:
            if isinstance(data, Path):
                version = self._head(key)
                return version if self._content_equals(key, data) else None
            stored = self._get(key, None)
        except ObjectNotFound:
            return None
        return stored.version if stored and stored.data == data else None

    def _content_equals(self, key: str, path: Path) -> bool:
        with path.open("rb") as file:
            for start in range(0, path.stat().st_size + 1, CHUNK):
                if self._range(key, start, CHUNK) != file.read(CHUNK):
                    return False
        return True

    def _with_retries(self, name: str, call: Callable[[], T]) -> T:
        deadline, pause_s = time.monotonic() + self.timeout_s, _FIRST_PAUSE_S
        while True:
            try:
                return self._attempt(name, call)
            except ObjectStoreUnavailable:
                # Jitter, so that many instances do not retry at the same moment.
                wait_s = pause_s * random.uniform(0.5, 1.0)
                if time.monotonic() + wait_s > deadline:
                    raise
            time.sleep(wait_s)
            pause_s = min(2 * pause_s, _MAX_PAUSE_S)

    def _attempt(self, name: str, call: Callable[[], T]) -> T:
        try:
            return call()
        except MarqueeError:
            raise
        except Exception as error:
            translated = self._translate_error(name, error)
            if translated is None:
                raise
            raise translated from error
