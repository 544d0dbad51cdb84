"""Questions to the outside: a deadline, a breaker, and no thread before the first one."""

from __future__ import annotations

import threading

import pytest
from tests.support.clock import FakeClock

from marquee.errors import DatabaseUnavailable
from marquee.serving.circuit_breaker import CircuitBreaker
from marquee.serving.deadline import DeadlineExecutor, Unavailable


def fails(deadline_ms: int) -> None:
    raise DatabaseUnavailable("down")


def test_the_breaker_opens_after_failures_in_a_row_only() -> None:
    breaker = CircuitBreaker(failures=2, open_s=5, clock=FakeClock())
    breaker.record_failure()
    breaker.record_success()
    breaker.record_failure()
    assert breaker.allows_call()
    breaker.record_failure()
    assert not breaker.allows_call()


def test_an_open_breaker_lets_one_through_now_and_then() -> None:
    """One caller pays to find out; the others go on without."""
    clock = FakeClock()
    breaker = CircuitBreaker(failures=1, open_s=5, clock=clock)
    breaker.record_failure()
    clock.now = 6
    assert [breaker.allows_call() for _ in range(4)] == [True, False, False, False]
    clock.now = 12
    assert breaker.allows_call()
    breaker.record_success()
    assert all(breaker.allows_call() for _ in range(4))


def test_the_answer_comes_back_and_knows_its_deadline() -> None:
    outside = DeadlineExecutor("it", deadline_ms=2_000, threads=1, first_deadline_ms=5_000)
    assert [outside.run(lambda ms: ms) for _ in range(2)] == [5_000, 2_000]


def test_what_keeps_its_own_deadline_is_asked_in_the_thread_of_who_asks() -> None:
    outside = DeadlineExecutor("it", deadline_ms=5_000)
    assert outside.run(lambda _: threading.current_thread()) is threading.current_thread()
    with pytest.raises(Unavailable, match="down"):
        outside.run(fails)


def test_what_hangs_is_left_at_the_deadline() -> None:
    """And the questions behind it, that nobody waits for any more, are never asked."""
    release = threading.Event()
    asked: list[int] = []
    outside = DeadlineExecutor("it", deadline_ms=20, threads=1, breaker=CircuitBreaker(failures=100))
    with pytest.raises(Unavailable, match="no answer within 20 ms"):
        outside.run(lambda _: release.wait(10))
    with pytest.raises(Unavailable):
        outside.run(asked.append)
    release.set()
    patient = DeadlineExecutor("it", deadline_ms=10_000, threads=1)
    assert patient.run(lambda _: "answer") == "answer"
    assert asked == []


def test_what_is_away_is_left_alone_for_a_while() -> None:
    """After three faults no more calls are made, until the breaker tries again."""
    clock = FakeClock()
    calls: list[int] = []
    outside = DeadlineExecutor("it", deadline_ms=5_000, threads=1, breaker=CircuitBreaker(3, 2, clock))

    def call(deadline_ms: int) -> None:
        calls.append(deadline_ms)
        fails(deadline_ms)

    for _ in range(10):
        with pytest.raises(Unavailable):
            outside.run(call)
    assert len(calls) == 3
    clock.now = 3
    assert outside.run(lambda _: "back") == "back"
    assert outside.run(lambda _: "to stay") == "to stay"


def test_a_mistake_in_the_program_is_no_absence() -> None:
    """It comes out as what it is, so that it is seen."""
    with pytest.raises(ZeroDivisionError):
        DeadlineExecutor("it", deadline_ms=5_000, threads=1).run(lambda _: 1 // 0)


def test_nothing_is_started_before_the_first_question() -> None:
    before = threading.active_count()
    outside = DeadlineExecutor("it", deadline_ms=5_000, threads=3)
    assert threading.active_count() == before
    outside.run(lambda _: None)
    assert threading.active_count() == before + 3
