"""Supervisor of the bridge: a small parent that restarts the consumer when a signal ends it.

librdkafka can crash the process in native code, for example when its topic is deleted while it is consumed, and the
kernel can end it for its memory. Kafka's commits make a restart safe. The module imports the standard library only, so
the parent stays small.
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from types import FrameType

log = logging.getLogger(__name__)

MIN_BACKOFF_S = 0.5
MAX_BACKOFF_S = 30.0
# After a child that ran for this long, the back-off is at its minimum again.
HEALTHY_S = 60.0

_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_PR_SET_PDEATHSIG = 1


class ChildSupervisor:
    """Parent of one child process at a time, which calls ``work``."""

    def __init__(self, work: Callable[[], int]) -> None:
        self._work = work
        self._child = 0
        self._stop_signal = 0

    def run(self) -> int:
        """Run the child until it exits; return its exit code.

        SIGTERM and SIGINT are passed on to the child. A child that a signal ended is started again, with back-off,
        unless it was asked to stop.
        """
        previous = {number: signal.signal(number, self._pass_on) for number in _STOP_SIGNALS}
        try:
            return self._supervise()
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def _supervise(self) -> int:
        backoff_s = MIN_BACKOFF_S
        while True:
            started = time.monotonic()
            code = self._run_child()
            if code >= 0 or self._stop_signal:
                return code if code >= 0 else 128 - code
            if time.monotonic() - started > HEALTHY_S:
                backoff_s = MIN_BACKOFF_S
            name = signal.Signals(-code).name
            log.error("the bridge's consumer was ended by %s; it starts again in %g s", name, backoff_s)
            if not self._wait(backoff_s):
                return 0
            backoff_s = min(2 * backoff_s, MAX_BACKOFF_S)

    def _run_child(self) -> int:
        """Return the child's exit code, or minus the number of the signal that ended it."""
        # Blocked, so that no signal comes between the fork and the end of it.
        signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)
        parent = os.getpid()
        self._child = os.fork()
        if self._child == 0:
            _become_child(self._work, parent)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOP_SIGNALS)
        _, status = os.waitpid(self._child, 0)
        self._child = 0
        return os.waitstatus_to_exitcode(status)

    def _pass_on(self, number: int, _frame: FrameType | None) -> None:
        self._stop_signal = number
        if self._child:
            os.kill(self._child, number)

    def _wait(self, seconds: float) -> bool:
        """Wait; return False if a stop signal arrived."""
        until = time.monotonic() + seconds
        while not self._stop_signal and (remaining := until - time.monotonic()) > 0:
            time.sleep(min(remaining, 0.2))
        return not self._stop_signal


def _become_child(work: Callable[[], int], parent: int) -> None:
    """Run ``work`` and exit; the child does not outlive its parent."""
    code = 1
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # The parent ended before the call.
            os._exit(1)
        for number in _STOP_SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOP_SIGNALS)
        code = work()
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def supervise(work: Callable[[], int]) -> int:
    """Run ``work`` in a supervised child process; return its exit code."""
    return ChildSupervisor(work).run()
