"""The runner: start a system in a locked state directory, and stop it on any signal."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn, Protocol

import psutil

from marquee.errors import MarqueeError
from marquee.local.state_dir import StateDir, process_created_at

# Handled like Ctrl-C: without a handler the parts would be killed by the orphan reaper instead of stopped.
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class ManagedSystem(Protocol):
    """A system that starts and stops as a whole."""

    def start(self) -> None:
        """Start all parts. Raises the error of a part that does not start."""

    def stop(self) -> None:
        """Stop all parts that were started."""


class NotRunning(MarqueeError):
    """No runner has locked the state directory."""


@contextmanager
def running(state_dir: StateDir, system: ManagedSystem) -> Iterator[None]:
    """Start ``system`` for the block, and stop it at the end, whatever the reason.

    SIGTERM and SIGHUP raise ``KeyboardInterrupt``, as Ctrl-C does.
    Raises :class:`~marquee.local.state_dir.AlreadyRunning` before anything is started.
    """
    with state_dir.locked(), _signal_handlers(_interrupt):
        state_dir.rotate_logs()
        try:
            system.start()
            yield
        finally:
            # A second signal must not interrupt the stop.
            with _signal_handlers(_ignore):
                system.stop()


def wait_for_signal(watch: Callable[[], object] = lambda: None, every_s: float = 5.0) -> NoReturn:
    """Sleep until a signal raises ``KeyboardInterrupt``; call ``watch`` every ``every_s`` seconds.

    The sleeps are short: the kernel may deliver a signal to another thread, as it does with two at once, and
    ``signal.pause()`` would then never return.
    """
    due = time.monotonic() + every_s
    while True:
        time.sleep(0.2)
        if time.monotonic() >= due:
            watch()
            due = time.monotonic() + every_s


def stop_running(state_dir: StateDir, timeout_s: float = 90.0) -> None:
    """Stop the runner of ``state_dir`` from another process; return when all its processes have ended.

    A runner that does not stop within ``timeout_s`` is killed, and its orphan reaper kills the parts.
    Raises :class:`NotRunning`.
    """
    state = state_dir.read_state()
    if not state_dir.in_use or state is None:
        raise NotRunning(f"nothing runs in {state_dir.directory}: start it with `marquee local up`")
    # The runner ends after it has released its lock: it waits for its orphan reaper.
    runner = (state.pid, process_created_at(state.pid))
    _send_signal(state.pid, signal.SIGTERM)
    if not _wait_unlocked(state_dir, timeout_s):
        _send_signal(state.pid, signal.SIGKILL)
        _wait_unlocked(state_dir, 10.0)
    family = {(pid, created) for part in state.parts for pid, created in zip(part.pids, part.created, strict=True)}
    family.add(runner)
    remaining = [psutil.Process(pid) for pid, created in family if created and process_created_at(pid) == created]
    psutil.wait_procs(remaining, timeout=10)


def _wait_unlocked(state_dir: StateDir, timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while state_dir.in_use and time.monotonic() < deadline:
        time.sleep(0.05)
    return not state_dir.in_use


def _send_signal(pid: int, sig: signal.Signals) -> None:
    try:
        os.kill(pid, sig)
    except ProcessLookupError:
        pass


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    # Ignore further signals from here on: a second one may arrive before `running` has replaced the handlers.
    for sig in _STOP_SIGNALS:
        signal.signal(sig, _ignore)
    raise KeyboardInterrupt


def _ignore(_number: int, _frame: FrameType | None) -> None:
    """Ignore a signal. Children would inherit SIG_IGN, but not this handler."""


@contextmanager
def _signal_handlers(handler: signal._HANDLER) -> Iterator[None]:
    previous = [(sig, signal.signal(sig, handler)) for sig in _STOP_SIGNALS]
    try:
        yield
    finally:
        for sig, old in previous:
            signal.signal(sig, old)
