"""Port of the object stores that hold artifacts and releases.

Writes are atomic, and reads see the last write. Concurrent writers are resolved by preconditions, never by listing.
:mod:`marquee.registry.object_store.connect` maps URLs to the adapters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import NewType, Protocol, TypeAlias, overload

import msgspec

from marquee.errors import ObjectStoreError

Version = NewType("Version", str)
"""Opaque version of an object, comparable only with versions of the same store."""

Content = bytes | Path
"""Content to write: bytes, or a local file that is read in chunks."""

MAX_NAME_BYTES = 900  # S3 and GCS allow 1,024 bytes, including the prefix of the URL.
MAX_SEGMENT_BYTES = 200  # File systems allow 255 bytes.


class Object(msgspec.Struct, frozen=True):
    """Bytes and version of an object."""

    data: bytes
    version: Version


class ObjectStore(Protocol):
    """Flat store of named objects. Safe to share between threads.

    Every method may raise ``ObjectStoreUnavailable`` (a retry may help) or ``ObjectStoreError`` (credentials,
    permissions, bucket or name are wrong).
    """

    @overload
    def get(self, name: str) -> Object: ...
    @overload
    def get(self, name: str, *, if_changed_from: Version | None) -> Object | None: ...
    def get(self, name: str, *, if_changed_from: Version | None = None) -> Object | None:
        """Return the object, or None if its version still is ``if_changed_from``.

        Raises ``ObjectNotFound`` if there is no such object.
        """

    def read_range(self, name: str, start: int, length: int) -> bytes:
        """Return up to ``length`` bytes from ``start``; fewer, or none, past the end of the object.

        Raises ``ObjectNotFound``.
        """

    def put_new(self, name: str, data: Content) -> Version:
        """Write a new object. Raises ``PreconditionFailed`` if it exists already."""

    def replace(self, name: str, data: bytes, expected: Version | None) -> Version:
        """Write only if the object has version ``expected`` (None: only if it does not exist).

        Raises ``PreconditionFailed``.
        """

    def list(self, prefix: str) -> Iterator[str]:
        """Yield the names that begin with ``prefix``, sorted by their UTF-8 bytes."""

    def delete(self, name: str) -> None:
        """Delete the object; do nothing if it does not exist."""


class Mappable(Protocol):
    """Store whose objects are local files, which can be mapped instead of copied."""

    def map(self, name: str) -> memoryview:
        """Return the object's bytes, memory-mapped and read-only; only for objects that are never replaced."""


class Local(Mappable, Protocol):
    """Store in files of this machine, which are read without a copy in between."""

    def read_into(self, name: str, buffer: memoryview) -> int:
        """Read the object's first bytes into ``buffer``; return their number. Raises ``ObjectNotFound``."""


class Timed(Protocol):
    """Store that knows when an object was written, by its own clock."""

    def modified(self, name: str) -> datetime:
        """Return the time of the object's last write; raises ``ObjectNotFound``."""


Mapper: TypeAlias = "Callable[[str], memoryview]"
BufferReader: TypeAlias = "Callable[[str, memoryview], int]"


def get_mapper(store: ObjectStore | Mappable) -> Mapper | None:
    """Return :meth:`Mappable.map` of a store that has it, else None. ``isinstance`` with a protocol takes 10 us."""
    return getattr(store, "map", None)


def get_buffer_reader(store: ObjectStore | Local) -> BufferReader | None:
    """Return :meth:`Local.read_into` of a store that has it, else None."""
    return getattr(store, "read_into", None)


def check_name(name: str) -> str:
    """Return ``name``. Raises ``ObjectStoreError`` if a store would not accept it."""
    problem = _find_problem(name)
    if problem:
        raise ObjectStoreError(f"{name!r} is not a valid object name: {problem}")
    return name


def check_prefix(prefix: str) -> str:
    """Return ``prefix`` if it is valid, like :func:`check_name`; it may be empty or end in ``/``."""
    if prefix:
        check_name(prefix + "x" if prefix.endswith("/") else prefix)
    return prefix


def _find_problem(name: str) -> str | None:
    try:
        encoded = name.encode()
    except UnicodeEncodeError:
        return "it cannot be encoded as UTF-8"
    segments = name.split("/")
    if any(s == "" for s in segments):
        return "it has an empty part; separate parts with single slashes"
    if any(s.startswith(".") for s in segments):
        return "no part may begin with a dot"
    if any(ord(c) < 32 or ord(c) == 127 for c in name):
        return "it contains a control character"
    if len(encoded) > MAX_NAME_BYTES or any(len(s.encode()) > MAX_SEGMENT_BYTES for s in segments):
        return f"it is longer than {MAX_NAME_BYTES} bytes, or one of its parts than {MAX_SEGMENT_BYTES}"
    return None
