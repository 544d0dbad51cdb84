"""Advisory locks between processes, on a file (``flock``)."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from marquee.errors import MarqueeError

_POLL_S = 0.002


class FileLocked(MarqueeError):
    """Another process holds the lock."""


@contextmanager
def file_lock(path: Path, *, timeout_s: float | None = None, shared: bool = False) -> Iterator[None]:
    """Hold the lock on ``path`` for the block. The kernel releases it if this process is killed.

    The file is created if it does not exist, and never removed. ``timeout_s`` limits the wait for another holder; None
    is no limit, and 0 tries once. A ``shared`` lock excludes exclusive locks only. Raises :class:`FileLocked` if
    another process still holds the lock then, and ``OSError`` if the file cannot be opened.
    """
    handle = os.open(path, os.O_CREAT | (os.O_RDONLY if shared else os.O_RDWR), 0o666)
    try:
        _acquire(handle, path, fcntl.LOCK_SH if shared else fcntl.LOCK_EX, timeout_s)
        try:
            yield
        finally:
            # Unlock explicitly: a fork of this process may hold a copy of the file descriptor.
            fcntl.flock(handle, fcntl.LOCK_UN)
    finally:
        os.close(handle)


def _acquire(handle: int, path: Path, operation: int, timeout_s: float | None) -> None:
    if timeout_s is None:
        fcntl.flock(handle, operation)
        return
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            fcntl.flock(handle, operation | fcntl.LOCK_NB)
            return
        except BlockingIOError as error:
            if time.monotonic() >= deadline:
                raise FileLocked(f"another process holds the lock {path}") from error
        time.sleep(_POLL_S)
