"""Atomic writes: a file or directory is replaced completely or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_path(path: Path, *, durable: bool = False, staging: Path | None = None) -> Iterator[Path]:
    """Yield a temporary path to write a file or directory to, and move it to ``path`` at the end.

    If the block raises, ``path`` keeps its previous content and the temporary is removed. A temporary left by a process
    that was killed is removed by the next write. ``durable`` flushes a file, and then its directory entry, to disk.
    ``staging`` is the temporary path, on the file system of ``path``. The default is a hidden path beside ``path``,
    which allows one writer at a time; concurrent writers each pass a unique path.
    """
    temporary = staging or path.with_name(f".{path.name}.writing")
    _remove(temporary)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield temporary
        if durable and temporary.is_file():
            _sync(temporary)
        if temporary.is_dir():
            _remove(path)
        temporary.replace(path)
    except BaseException:
        _remove(temporary)
        raise
    if durable:
        _sync(path.parent)


@contextmanager
def atomic_directory(path: Path) -> Iterator[Path]:
    """Yield a temporary, empty directory that replaces ``path`` at the end; see :func:`atomic_path`."""
    with atomic_path(path) as temporary:
        temporary.mkdir()
        yield temporary


def write_atomically(path: Path, content: bytes, *, durable: bool = False) -> None:
    """Replace the file ``path`` with ``content`` in one step; a reader never sees a part of it."""
    with atomic_path(path, durable=durable) as temporary:
        temporary.write_bytes(content)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    elif os.path.lexists(path):
        path.unlink()
