"""Tests of calls with a deadline and of the circuit breaker."""

from __future__ import annotations

import threading

import pytest
from tests.support.clock import FakeClock

from marquee.errors import DatabaseBusy, DatabaseUnavailable, DataRefused, MarqueeError
from marquee.serving.circuit_breaker import CircuitBreaker
from marquee.serving.deadline import DeadlineExecutor, Unavailable


def fail(deadline_ms: int) -> None:
    """Raise an error of the service."""
    raise DatabaseUnavailable("down")


def test_breaker_consecutive_failures_open_it() -> None:
    """A success resets the count of failures."""
    breaker = CircuitBreaker(failures=2, open_s=5, clock=FakeClock())
    breaker.record_failure()
    breaker.record_success()
    breaker.record_failure()
    assert breaker.allows_call()
    breaker.record_failure()
    assert not breaker.allows_call()


def test_breaker_open_allows_one_trial_call() -> None:
    """One caller makes the trial call, the others do not; a successful trial closes the breaker."""
    clock = FakeClock()
    breaker = CircuitBreaker(failures=1, open_s=5, clock=clock)
    breaker.record_failure()
    clock.now = 6
    assert [breaker.allows_call() for _ in range(4)] == [True, False, False, False]
    clock.now = 12
    assert breaker.allows_call()
    breaker.record_success()
    assert all(breaker.allows_call() for _ in range(4))


def test_run_passes_the_deadline_and_returns_the_result() -> None:
    """The first deadline applies until the first success."""
    executor = DeadlineExecutor("it", deadline_ms=2_000, threads=1, first_deadline_ms=5_000)
    assert [executor.run(lambda ms: ms) for _ in range(2)] == [5_000, 2_000]


def test_run_without_threads_uses_the_callers_thread() -> None:
    """Errors of the service still become Unavailable."""
    executor = DeadlineExecutor("it", deadline_ms=5_000)
    assert executor.run(lambda _: threading.current_thread()) is threading.current_thread()
    with pytest.raises(Unavailable, match="down"):
        executor.run(fail)


def test_run_hanging_call_raises_at_the_deadline() -> None:
    """Calls queued behind it, which no request waits for any more, are never made."""
    release = threading.Event()
    abandoned_calls: list[int] = []
    executor = DeadlineExecutor("it", deadline_ms=20, threads=1, breaker=CircuitBreaker(failures=100))
    with pytest.raises(Unavailable, match="no answer within 20 ms"):
        executor.run(lambda _: release.wait(10))
    with pytest.raises(Unavailable):
        executor.run(abandoned_calls.append)
    release.set()
    patient = DeadlineExecutor("it", deadline_ms=10_000, threads=1)
    assert patient.run(lambda _: "answer") == "answer"
    assert abandoned_calls == []


def test_run_after_three_failures_makes_no_calls() -> None:
    """After three failures no calls are made until the breaker allows a trial."""
    clock = FakeClock()
    calls: list[int] = []
    executor = DeadlineExecutor("it", deadline_ms=5_000, threads=1, breaker=CircuitBreaker(3, 2, clock))

    def call(deadline_ms: int) -> None:
        calls.append(deadline_ms)
        fail(deadline_ms)

    for _ in range(10):
        with pytest.raises(Unavailable):
            executor.run(call)
    assert len(calls) == 3
    clock.now = 3
    assert executor.run(lambda _: "back") == "back"
    assert executor.run(lambda _: "to stay") == "to stay"


def test_run_bug_in_the_function_is_raised_unchanged() -> None:
    """An error that is not a MarqueeError is not hidden as Unavailable."""
    with pytest.raises(ZeroDivisionError):
        DeadlineExecutor("it", deadline_ms=5_000, threads=1).run(lambda _: 1 // 0)


def test_run_first_call_starts_the_threads() -> None:
    """Creating an executor starts no thread."""
    before = threading.active_count()
    executor = DeadlineExecutor("it", deadline_ms=5_000, threads=3)
    assert threading.active_count() == before
    executor.run(lambda _: None)
    assert threading.active_count() == before + 3


@pytest.mark.parametrize("error", [DatabaseBusy("busy"), DataRefused("year 10000")])
def test_run_busy_connection_or_odd_value_leaves_the_breaker_closed(error: MarqueeError) -> None:
    """Neither says that the service is away: the next call is made."""
    executor = DeadlineExecutor("it", deadline_ms=5_000, breaker=CircuitBreaker(failures=1, open_s=3_600))

    def call(deadline_ms: int) -> None:
        raise error

    for _ in range(5):
        with pytest.raises(Unavailable):
            executor.run(call)
    assert executor.run(lambda _: "answer") == "answer"


def test_run_call_that_never_started_leaves_the_breaker_closed() -> None:
    """One slow call on the only thread is one failure, however many wait behind it."""
    release = threading.Event()
    breaker = CircuitBreaker(failures=2, open_s=3_600)
    executor = DeadlineExecutor("it", deadline_ms=30, threads=1, breaker=breaker)
    for _ in range(5):
        with pytest.raises(Unavailable):
            executor.run(lambda _: release.wait(10))
    assert breaker.allows_call()
    release.set()
