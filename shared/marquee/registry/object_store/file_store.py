"""Objects as files of one directory, for one machine and any number of processes.

A file appears under its name whole and already on the disk (written aside, synced, renamed). Writers
agree by one ``flock``, which the kernel lets go of when its holder is killed.
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

_ASIDE = ".writing"
_LOCK = ".lock"
_STALE_S = 24 * 3600.0


class FileStore:
    """An :class:`~marquee.registry.object_store.object_store.ObjectStore` below ``root``, made at the first write.

    A version is the hash of the content. A name cannot be an object and, with a slash behind it, the
    beginning of other names.
    """

    def __init__(self, root: Path, *, lock_timeout_s: float = 20.0) -> None:
        self.root = root
        self._lock_timeout_s = lock_timeout_s

    def __repr__(self) -> str:
        return f"FileStore({str(self.root)!r})"

    @overload
    def get(self, name: str) -> Object: ...
    @overload
    def get(self, name: str, *, if_changed_from: Version | None) -> Object | None: ...
    def get(self, name: str, *, if_changed_from: Version | None = None) -> Object | None:
        with self._open(name) as file:
            data = file.read()
        version = _version(data)
        return None if version == if_changed_from else Object(data, version)

    def read_range(self, name: str, start: int, length: int) -> bytes:
        if start < 0 or length < 0:
            raise ValueError(f"a range has no negative numbers: start {start}, length {length}")
        with self._open(name) as file:
            if start >= os.fstat(file.fileno()).st_size:
                return b""  # Some starts are beyond what can be sought at all.
            file.seek(start)
            return file.read(length)

    def map(self, name: str) -> memoryview:
        with self._open(name) as file:
            if os.fstat(file.fileno()).st_size == 0:
                return memoryview(b"")
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))

    def put_new(self, name: str, data: Content) -> Version:
        return self._write(name, data, None)

    def replace(self, name: str, data: bytes, expected: Version | None) -> Version:
        return self._write(name, data, expected)

    def list(self, prefix: str) -> Iterator[str]:
        start = self.root / check_prefix(prefix).rpartition("/")[0]
        names = (path.relative_to(self.root).as_posix() for path in _files(start))
        yield from sorted((n for n in names if n.startswith(prefix)), key=str.encode)

    def delete(self, name: str) -> None:
        path = self._path(name)
        if path.is_file():
            with _translated(name), self._locked():
                path.unlink(missing_ok=True)
                _sync(path.parent)

    def _path(self, name: str) -> Path:
        path = self.root / check_name(name)
        # A link below the root may lead anywhere: what it leads to is not ours.
        if not path.resolve().is_relative_to(self.root.resolve()):
            raise ObjectStoreError(f"{name!r} leads out of {self.root}")
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
        with _translated(name):
            _sweep(self.root / _ASIDE)
            staging = self.root / _ASIDE / uuid.uuid4().hex
            # The lock is released after `atomic_path` has moved the file into its place.
            with ExitStack() as lock, atomic_path(path, durable=True, staging=staging) as temporary:
                _copy(data, temporary)
                lock.enter_context(self._locked())
                self._expect(path, name, expected)
        return _version(data)

    def _expect(self, path: Path, name: str, expected: Version | None) -> None:
        if not path.is_file():
            problem = "it is gone" if expected else ""
        elif expected is None:
            problem = "it exists"
        else:
            problem = "" if _version(path) == expected else "it has changed"
        if problem:
            raise PreconditionFailed(f"{name!r} in {self.root} was not written: {problem}")

    @contextmanager
    def _locked(self) -> Iterator[None]:
        lock = self.root / _LOCK
        try:
            with file_lock(lock, timeout_s=self._lock_timeout_s):
                yield
        except FileLocked as error:
            raise ObjectStoreUnavailable(f"another process holds {lock} and does not let go") from error


def _copy(data: Content, target: Path) -> None:
    if isinstance(data, Path):
        shutil.copyfile(data, target)
    else:
        target.write_bytes(data)


@contextmanager
def _translated(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ObjectStoreError(f"cannot write {name!r}: {error}") from error


def _version(content: Content) -> Version:
    if isinstance(content, Path):
        with content.open("rb") as file:
            return Version(hashlib.file_digest(file, "sha256").hexdigest())
    return Version(hashlib.sha256(content).hexdigest())


def _files(directory: Path) -> Iterator[Path]:
    try:
        entries = list(os.scandir(directory))
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from _files(Path(entry.path))
        else:
            yield Path(entry.path)


def _sweep(directory: Path) -> None:
    """Remove what writers that were killed left behind, once nobody can be writing it any more."""
    directory.mkdir(parents=True, exist_ok=True)
    for path in directory.iterdir():
        try:
            if time.time() - path.stat().st_mtime > _STALE_S:
                path.unlink()
        except FileNotFoundError:
            pass  # Another writer's, done by now.


def _sync(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
