"""Small child programs for the tests of processes and supervision."""

import sys
from pathlib import Path
from typing import Any

import psutil

from marquee.local.process import Process


def python_process(name: str, code: str, logs: Path, **options: Any) -> Process:
    """Return a process that runs ``code``, with its log at ``logs/<name>.log``."""
    return Process(name, [sys.executable, "-c", code], logs / f"{name}.log", **options)


def has_ended(process: psutil.Process) -> bool:
    """Return True if ``process`` has ended, or is a zombie."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
