"""Blocking calls to other services with a hard deadline.

Client time-outs do not cover every phase (connecting, a server that hangs). Each call therefore runs in a worker
thread, and the request proceeds without the result when the deadline passes. The threads start with the first call,
after the server has forked.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

from marquee.errors import DatabaseBusy, DataRefused, MarqueeError, TransientError
from marquee.serving.circuit_breaker import CircuitBreaker

log = logging.getLogger(__name__)

T = TypeVar("T")


class Unavailable(TransientError):
    """The service failed, did not answer in time, or its circuit breaker is open."""


class _NotStarted(TransientError):
    """All threads were making other calls until the deadline."""


_NO_FAILURES = (DatabaseBusy, DataRefused, _NotStarted)
"""Errors that say nothing about the service: it was not asked, or one value cannot be read."""


class _Call(Generic[T]):
    """One call that a thread waits for until it is abandoned."""

    def __init__(self, function: Callable[[], T]) -> None:
        self.function = function
        self.done = threading.Event()
        self.started = False
        self.abandoned = False
        self.result: T | None = None
        self.error: Exception | None = None

    def run(self) -> None:
        """Make the call unless it was abandoned."""
        if self.abandoned:
            return
        self.started = True
        try:
            self.result = self.function()
        except Exception as error:  # Raised again in the waiting thread.
            self.error = error
        self.done.set()


class DeadlineExecutor:
    """Executor of calls to one service, ``name`` in the log, with a deadline and a circuit breaker.

    ``threads`` is the maximum number of concurrent calls. With 0, calls run in the caller's thread, which is right
    for functions that keep to the deadline themselves.

    ``first_deadline_ms`` applies until the first success. A new instance still has to connect, which must not degrade
    the recommendations of its first users.
    """

    def __init__(
        self,
        name: str,
        *,
        deadline_ms: int,
        first_deadline_ms: int = 0,
        threads: int = 0,
        breaker: CircuitBreaker | None = None,
    ) -> None:
        self.name = name
        self._deadline_ms = deadline_ms
        self._first_deadline_ms = max(deadline_ms, first_deadline_ms)
        self._n_threads = threads
        self._breaker = breaker or CircuitBreaker()
        self._calls: SimpleQueue[_Call[Any]] = SimpleQueue()
        self._start_lock = threading.Lock()
        self._started = False
        self._has_succeeded = False

    def run(self, function: Callable[[int], T]) -> T:
        """Return ``function(deadline in milliseconds)``.

        Any other :class:`MarqueeError` than those of a busy process counts as a failure of the service. A function
        should return, not raise, errors that concern only its arguments. Raises :class:`Unavailable` at the deadline or
        on failure.
        """
        if not self._breaker.allows_call():
            raise Unavailable(f"{self.name} failed repeatedly; its circuit breaker is open")
        deadline_ms = self._deadline_ms if self._has_succeeded else self._first_deadline_ms
        try:
            result = self._run_within(lambda: function(deadline_ms), deadline_ms)
        except _NO_FAILURES as error:
            raise Unavailable(f"{self.name}: {error}") from error
        except MarqueeError as error:
            self._breaker.record_failure()
            log.warning("%s: %s", self.name, error)
            raise Unavailable(f"{self.name}: {error}") from error
        self._breaker.record_success()
        self._has_succeeded = True
        return result

    def _run_within(self, function: Callable[[], T], deadline_ms: int) -> T:
        if not self._n_threads:
            return function()
        self._start_threads()
        call = _Call(function)
        self._calls.put(call)
        if not call.done.wait(deadline_ms / 1000):
            call.abandoned = True
            if not call.started:
                raise _NotStarted(f"{self._n_threads} other calls took {deadline_ms} ms")
            raise Unavailable(f"no answer within {deadline_ms} ms")
        if call.error is not None:
            raise call.error
        return call.result  # type: ignore[return-value]  # T itself may be None.

    def _start_threads(self) -> None:
        if self._started:
            return
        with self._start_lock:
            if not self._started:
                for _ in range(self._n_threads):
                    threading.Thread(target=self._run_calls, name=self.name, daemon=True).start()
                self._started = True

    def _run_calls(self) -> None:
        while True:
            self._calls.get().run()
