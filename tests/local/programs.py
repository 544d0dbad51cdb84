"""Small programs that stand in for the real parts."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
from tests.support.waiting import wait_until

from marquee.local.process import Process


def python(name: str, code: str, logs: Path, **more: Any) -> Process:
    """A process that runs ``code``, with its log at ``logs/<name>.log``."""
    return Process(name, [sys.executable, "-c", code], logs / f"{name}.log", **more)


def wait_for(condition: Callable[[], bool], timeout_s: float = 20.0) -> None:
    """:func:`wait_until`, and fail sooner."""
    wait_until(condition, timeout_s)


def gone(process: psutil.Process) -> bool:
    """Whether it has ended; one that only waits to be reaped has."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
