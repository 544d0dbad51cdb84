"""Hold a home, start a system in it, and stop it again however we are asked to."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn, Protocol

import psutil

from marquee.errors import MarqueeError
from marquee.local.state_dir import StateDir, created_at

# To be closed in the way that Ctrl-C is: a plain end would leave the parts to the guard, which is not polite.
_ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class ManagedSystem(Protocol):
    """What can be started whole and stopped whole."""

    def start(self) -> None:
        """Start all of it, or raise."""

    def stop(self) -> None:
        """Stop all that was started."""


class NotRunning(MarqueeError):
    """There is no runner in this home."""


@contextmanager
def running(home: StateDir, system: ManagedSystem) -> Iterator[None]:
    """The system, started; stopped on the way out, whatever the reason.

    SIGTERM and SIGHUP come as ``KeyboardInterrupt``, as Ctrl-C does.
    Raises :class:`~marquee.local.state_dir.AlreadyRunning` before anything is touched.
    """
    with home.held(), _endings(_interrupt):
        home.rotate_logs()
        try:
            system.start()
            yield
        finally:
            # Who asks a second time must not stop the stopping.
            with _endings(_ignore):
                system.stop()


def wait_for_signal() -> NoReturn:
    """Stay until an ending's signal raises ``KeyboardInterrupt``.

    In short sleeps: the kernel may hand a signal to another thread, as it does with two at once, and
    then a ``signal.pause()`` here would never return.
    """
    while True:
        time.sleep(0.2)


def stop_running(home: StateDir, patience_s: float = 90.0) -> None:
    """Stop the runner of ``home`` from another process, and return when nothing of it is left.

    Raises :class:`NotRunning`. One that does not stop in time is killed; its guard ends the parts.
    """
    state = home.read_state()
    if not home.in_use or state is None:
        raise NotRunning(f"nothing runs in {home.directory}: start it with `marquee local up`")
    _signal(state.pid, signal.SIGTERM)
    if not _released(home, patience_s):
        _signal(state.pid, signal.SIGKILL)
        _released(home, 10.0)
    family = {(pid, born) for part in state.parts for pid, born in zip(part.pids, part.created, strict=True)}
    left = [psutil.Process(pid) for pid, born in family if created_at(pid) == born]
    psutil.wait_procs(left, timeout=10)


def _released(home: StateDir, patience_s: float) -> bool:
    deadline = time.monotonic() + patience_s
    while home.in_use and time.monotonic() < deadline:
        time.sleep(0.05)
    return not home.in_use


def _signal(pid: int, sig: signal.Signals) -> None:
    try:
        os.kill(pid, sig)
    except ProcessLookupError:
        pass


def _interrupt(number: int, frame: FrameType | None) -> None:
    # At once: a second signal may come before whoever catches the first has said that it is stopping.
    for sig in _ENDINGS:
        signal.signal(sig, _ignore)
    raise KeyboardInterrupt


def _ignore(number: int, frame: FrameType | None) -> None:
    """Not SIG_IGN, which children would inherit."""


@contextmanager
def _endings(handler: signal._HANDLER) -> Iterator[None]:
    before = [(sig, signal.signal(sig, handler)) for sig in _ENDINGS]
    try:
        yield
    finally:
        for sig, old in before:
            signal.signal(sig, old)
