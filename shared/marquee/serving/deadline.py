"""What an answer asks of the world outside its process: within a deadline, or not at all.

Many a client's own time-outs do not hold everywhere (a connection that has yet to be made, a server
that hangs). A question to such a one is asked in a thread, and the answer leaves without it when the
deadline comes. The threads begin with the first question, and so in the process that answers and not
in its parent.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

from marquee.errors import MarqueeError, TransientError
from marquee.serving.circuit_breaker import CircuitBreaker

log = logging.getLogger(__name__)

T = TypeVar("T")


class Unavailable(TransientError):
    """It did not answer in time, reported a fault, or is given a rest after it did so again and again."""


class _Question(Generic[T]):
    """One call that is waited for, or given up."""

    def __init__(self, call: Callable[[], T]) -> None:
        self.call = call
        self.done = threading.Event()
        self.given_up = False
        self.answer: T | None = None
        self.error: Exception | None = None

    def run(self) -> None:
        """Make the call, unless nobody waits for it any more."""
        if self.given_up:
            return
        try:
            self.answer = self.call()
        except Exception as error:  # Handed to who asked.
            self.error = error
        self.done.set()


class DeadlineExecutor:
    """One such thing, ``name`` in the log.

    ``threads``: the questions it is asked at one time; 0 for what keeps to the deadline by itself, and
    may be asked by any number of threads, each in its own.

    ``first_deadline_ms`` holds until it has answered once: a connection has yet to be made, and a new
    instance should not give its first users a poorer answer for that.
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
        self._threads = threads
        self._breaker = breaker or CircuitBreaker()
        self._questions: SimpleQueue[_Question[Any]] = SimpleQueue()
        self._starting = threading.Lock()
        self._started = False
        self._answered = False

    def ask(self, call: Callable[[int], T]) -> T:
        """``call`` it with the deadline in milliseconds; raises :class:`Unavailable` by then at the latest.

        Faults that say something of the question rather than of its receiver should be returned, not raised.
        """
        if not self._breaker.allows():
            raise Unavailable(f"{self.name} did not answer of late, and is given a rest")
        deadline_ms = self._deadline_ms if self._answered else self._first_deadline_ms
        try:
            answer = self._within(lambda: call(deadline_ms), deadline_ms)
        except MarqueeError as error:
            self._breaker.failed()
            log.warning("%s: %s", self.name, error)
            raise Unavailable(f"{self.name}: {error}") from error
        self._breaker.succeeded()
        self._answered = True
        return answer

    def _within(self, call: Callable[[], T], deadline_ms: int) -> T:
        if not self._threads:
            return call()
        self._start()
        question = _Question(call)
        self._questions.put(question)
        if not question.done.wait(deadline_ms / 1000):
            question.given_up = True
            raise Unavailable(f"no answer within {deadline_ms} ms")
        if question.error is not None:
            raise question.error
        return question.answer  # type: ignore[return-value]  # T itself may be None

    def _start(self) -> None:
        if self._started:
            return
        with self._starting:
            if not self._started:
                for _ in range(self._threads):
                    threading.Thread(target=self._run, name=self.name, daemon=True).start()
                self._started = True

    def _run(self) -> None:
        while True:
            self._questions.get().run()
