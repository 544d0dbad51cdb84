"""Where artifacts and releases are kept: one port, and an adapter for each kind of URL.

    file:///directory          one machine            marquee.registry.object_store.file_store
    gs://bucket/prefix         Google Cloud Storage   marquee.registry.object_store.gcs_store
    s3://bucket/prefix         S3 and its like        marquee.registry.object_store.s3_store

An object is written whole or not at all, and is read as it was last written. What is decided by two
writers at once is decided by a precondition, never by listing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NewType, Protocol, TypeAlias, overload

import msgspec

from marquee.errors import ObjectStoreError

Version = NewType("Version", str)
"""Names one state of one object. Opaque: it is compared with others of its store, and nothing else."""

Content = bytes | Path
"""What is written: bytes, or a local file that is read in pieces."""

NAME_BYTES = 900  # S3 and GCS take 1,024 bytes, the prefix of the URL included.
SEGMENT_BYTES = 200  # A file name has 255; ours carries a suffix while it is written.


class Object(msgspec.Struct, frozen=True):
    """An object's bytes and the version they are of."""

    data: bytes
    version: Version


class ObjectStore(Protocol):
    """Safe to share between threads. Every method may raise ``ObjectStoreUnavailable`` (try again
    later) or ``ObjectStoreError`` (credentials, permissions, bucket or name are wrong).
    """

    @overload
    def get(self, name: str) -> Object: ...
    @overload
    def get(self, name: str, *, if_changed_from: Version | None) -> Object | None: ...
    def get(self, name: str, *, if_changed_from: Version | None = None) -> Object | None:
        """The object, or None if it still is of the version ``if_changed_from``.

        Raises ``ObjectNotFound``.
        """

    def read_range(self, name: str, start: int, length: int) -> bytes:
        """Up to ``length`` bytes from ``start``; fewer, or none, where the object ends.

        Raises ``ObjectNotFound``.
        """

    def put_new(self, name: str, data: Content) -> Version:
        """Write an object that must not exist; raises ``PreconditionFailed`` if it does."""

    def replace(self, name: str, data: bytes, expected: Version | None) -> Version:
        """Write only if the object is of the version ``expected`` (None: only if there is none).

        Raises ``PreconditionFailed``.
        """

    def list(self, prefix: str) -> Iterator[str]:
        """The names that begin with ``prefix``, in the order of their UTF-8 bytes."""

    def delete(self, name: str) -> None:
        """Remove the object; does nothing if there is none."""


class Mappable(Protocol):
    """A store whose objects are files of this machine, so that reading one need not copy it."""

    def map(self, name: str) -> memoryview:
        """The object's bytes, mapped and read-only; only for objects that are never replaced."""


Mapping: TypeAlias = "Callable[[str], memoryview]"


def mapping(store: ObjectStore | Mappable) -> Mapping | None:
    """:meth:`Mappable.map` of a store that has it. (``isinstance`` with a protocol takes 10 us.)"""
    return getattr(store, "map", None)


def check_name(name: str) -> str:
    """Return ``name`` if every kind of store can hold an object of that name, else say why not."""
    problem = _problem(name)
    if problem:
        raise ObjectStoreError(f"{name!r} cannot name an object: {problem}")
    return name


def check_prefix(prefix: str) -> str:
    """As :func:`check_name`, for the beginning of names: it may be empty, or end in ``/``."""
    if prefix:
        check_name(prefix + "x" if prefix.endswith("/") else prefix)
    return prefix


def _problem(name: str) -> str | None:
    try:
        encoded = name.encode()
    except UnicodeEncodeError:
        return "it is not text that UTF-8 can hold"
    segments = name.split("/")
    if any(s == "" for s in segments):
        return "it has an empty part; parts are divided by single slashes"
    if any(s.startswith(".") for s in segments):
        return "no part may begin with a dot"
    if any(ord(c) < 32 or ord(c) == 127 for c in name):
        return "it holds a control character"
    if len(encoded) > NAME_BYTES or any(len(s.encode()) > SEGMENT_BYTES for s in segments):
        return f"it is longer than {NAME_BYTES} bytes, or a part of it than {SEGMENT_BYTES}"
    return None
