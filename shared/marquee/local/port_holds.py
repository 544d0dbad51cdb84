"""Reservation of ports among the processes of one user, so that no two of them choose the same.

A port is chosen before its server listens, and it is free again while the server restarts. Between the two another
local system, or a test, would find it free.
"""

from __future__ import annotations

import fcntl
import os
import socket
import tempfile
import threading
from functools import cache
from pathlib import Path

_lock = threading.Lock()
_held: set[int] = set()


def hold_port(port: int) -> bool:
    """Hold ``port`` of 127.0.0.1 until :func:`release_port` or the end of this process, however it ends.

    Return False if another process holds it or listens on it, or this process holds it already.
    """
    with _lock:
        if port in _held or not _lock_port(port):
            return False
        if not _can_bind(port):
            _unlock_port(port)
            return False
        _held.add(port)
        return True


def release_port(port: int) -> None:
    """End the hold of this process on ``port``, if it has one."""
    with _lock:
        if port in _held:
            _unlock_port(port)
            _held.remove(port)


def _lock_port(port: int) -> bool:
    file = _lock_file()
    try:
        if file is not None:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError:
        return False
    return True


def _unlock_port(port: int) -> None:
    file = _lock_file()
    if file is not None:
        fcntl.lockf(file, fcntl.LOCK_UN, 1, port)


@cache
def _lock_file() -> int | None:
    """Open the file whose byte N represents port N; None if it cannot be used, and then nothing is reserved.

    It stays open: POSIX locks end when their process closes the file. Unlike those of ``flock``, one file has a lock
    for each port, and a child does not share them.
    """
    path = Path(tempfile.gettempdir()) / f"marquee-ports-{os.getuid()}"
    try:
        return os.open(path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError:
        return None


def _can_bind(port: int) -> bool:
    """Return True if a server could listen on ``port`` of 127.0.0.1 at present."""
    with socket.socket() as probe:
        # A port in TIME_WAIT is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
