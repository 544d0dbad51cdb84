"""Object store in a local directory, for any number of processes of one machine.

A write is atomic and durable: the file is written to a temporary name, synced and renamed. It is read-only, with the
other permissions that the umask leaves, as are those of its directories. Writers exclude each other
with ``flock``, which the kernel releases when the holder is killed.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, overload

from marquee.config.atomic_file import atomic_path
from marquee.config.file_lock import FileLocked, file_lock
from marquee.errors import (
    ObjectNotFound,
    ObjectStoreError,
    ObjectStoreUnavailable,
    PreconditionFailed,
)
from marquee.registry.object_store.object_store import Content, Object, Version, check_name, check_prefix

_TEMPORARY = ".writing"
_LOCK = ".lock"
_WRITE = 0o222
_STALE_S = 24 * 3600.0


class FileStore:
    """:class:`~marquee.registry.object_store.object_store.ObjectStore` below ``root``, created at the first write.

    A version is the hash of the content. A name cannot be an object and also the folder of other objects.
    """

    def __init__(self, root: Path, *, lock_timeout_s: float = 20.0) -> None:
        self.root = root
        self._real_root: Path | None = None
        self._lock_timeout_s = lock_timeout_s

    def __repr__(self) -> str:
        return f"FileStore({str(self.root)!r})"

    @overload
    def get(self, name: str) -> Object: ...
    @overload
    def get(self, name: str, *, if_changed_from: Version | None) -> Object | None: ...
    def get(self, name: str, *, if_changed_from: Version | None = None) -> Object | None:
        """See :class:`ObjectStore`."""
        with self._open(name) as file:
            data = file.read()
        version = _hash_content(data)
        return None if version == if_changed_from else Object(data, version)

    def read_range(self, name: str, start: int, length: int) -> bytes:
        """See :class:`ObjectStore`."""
        if start < 0 or length < 0:
            raise ValueError(f"start and length must not be negative; got {start} and {length}")
        with self._open(name) as file:
            if start >= os.fstat(file.fileno()).st_size:
                return b""  # Seeking far past the end raises OSError.
            file.seek(start)
            return file.read(length)

    def map(self, name: str) -> memoryview:
        """See :class:`Mappable`."""
        with self._open(name) as file:
            if os.fstat(file.fileno()).st_size == 0:
                return memoryview(b"")
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))

    def read_into(self, name: str, buffer: memoryview) -> int:
        """See :class:`Local`."""
        with self._open(name) as file:
            return file.readinto(buffer)  # type: ignore[attr-defined,no-any-return]  # BinaryIO lacks it.

    def put_new(self, name: str, data: Content) -> Version:
        """See :class:`ObjectStore`."""
        return self._write(name, data, None)

    def replace(self, name: str, data: bytes, expected: Version | None) -> Version:
        """See :class:`ObjectStore`."""
        return self._write(name, data, expected)

    def modified(self, name: str) -> datetime:
        """See :class:`Timed`."""
        with self._open(name) as file:
            return datetime.fromtimestamp(os.fstat(file.fileno()).st_mtime, UTC)

    def list(self, prefix: str) -> Iterator[str]:
        """See :class:`ObjectStore`."""
        start = self.root / check_prefix(prefix).rpartition("/")[0]
        names = (path.relative_to(self.root).as_posix() for path in _iter_files(start))
        yield from sorted((n for n in names if n.startswith(prefix)), key=str.encode)

    def delete(self, name: str) -> None:
        """See :class:`ObjectStore`."""
        path = self._path(name)
        if path.is_file():
            with _translate_errors(name), self._lock():
                path.unlink(missing_ok=True)
                _sync_directory(path.parent)

    def _path(self, name: str) -> Path:
        path = self.root / check_name(name)
        # A symbolic link below the root may point outside of it.
        self._real_root = self._real_root or self.root.resolve()  # Takes as long as opening a file.
        if not path.resolve().is_relative_to(self._real_root):
            raise ObjectStoreError(f"{name!r} is a link out of {self.root}")
        return path

    def _open(self, name: str) -> BinaryIO:
        try:
            return self._path(name).open("rb")
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
            raise ObjectNotFound(f"there is no object {name!r} in {self.root}") from error
        except OSError as error:
            raise ObjectStoreError(f"cannot read {name!r} in {self.root}: {error}") from error

    def _write(self, name: str, data: Content, expected: Version | None) -> Version:
        path = self._path(name)
        with _translate_errors(name):
            _delete_stale(self.root / _TEMPORARY)
            staging = self.root / _TEMPORARY / uuid.uuid4().hex
            # The lock is released after atomic_path has moved the file.
            with ExitStack() as lock, atomic_path(path, durable=True, staging=staging) as temporary:
                _copy(data, temporary)
                temporary.chmod(temporary.stat().st_mode & ~_WRITE)  # A change in place is always a mistake.
                lock.enter_context(self._lock())
                self._check_version(path, name, expected)
        return _hash_content(data)

    def _check_version(self, path: Path, name: str, expected: Version | None) -> None:
        if not path.is_file():
            problem = "it does not exist any more" if expected else ""
        elif expected is None:
            problem = "it exists"
        else:
            problem = "" if _hash_content(path) == expected else "it has changed"
        if problem:
            raise PreconditionFailed(f"{name!r} in {self.root} was not written: {problem}")

    @contextmanager
    def _lock(self) -> Iterator[None]:
        lock = self.root / _LOCK
        try:
            with file_lock(lock, timeout_s=self._lock_timeout_s):
                yield
        except FileLocked as error:
            raise ObjectStoreUnavailable(f"another process holds the lock {lock}") from error


def _copy(data: Content, target: Path) -> None:
    if isinstance(data, Path):
        shutil.copyfile(data, target)
    else:
        target.write_bytes(data)


@contextmanager
def _translate_errors(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ObjectStoreError(f"cannot write {name!r}: {error}") from error


def _hash_content(content: Content) -> Version:
    if isinstance(content, Path):
        with content.open("rb") as file:
            return Version(hashlib.file_digest(file, "sha256").hexdigest())
    return Version(hashlib.sha256(content).hexdigest())


def _iter_files(directory: Path) -> Iterator[Path]:
    try:
        entries = list(os.scandir(directory))
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from _iter_files(Path(entry.path))
        else:
            yield Path(entry.path)


def _delete_stale(directory: Path) -> None:
    """Delete files that killed writers left behind, once no writer can be using them any more."""
    directory.mkdir(parents=True, exist_ok=True)
    for path in directory.iterdir():
        try:
            if time.time() - path.stat().st_mtime > _STALE_S:
                path.unlink()
        except FileNotFoundError:
            pass  # Of another writer that has finished.


def _sync_directory(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
