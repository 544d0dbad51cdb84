"""Impressions: told in batches, never in the way."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest
from tests.serving.fakes import DOWN, FakeDelivery

from marquee.errors import InvalidBatch
from marquee.events.batches import Impression, ImpressionMovie
from marquee.serving.impressions import ImpressionSender

Start = Callable[..., ImpressionSender]


def impression(n: int) -> Impression:
    movies = (ImpressionMovie("film+1990", 1.5, 4.0, 1.0),)
    return Impression(str(n), datetime(2026, 3, 1, tzinfo=UTC), "1000", "control", "v1", 1, "popular", movies)


@pytest.fixture
def delivery() -> FakeDelivery:
    return FakeDelivery()


@pytest.fixture
def start(delivery: FakeDelivery) -> Iterator[Start]:
    senders = []

    def make(batch: int = 200, capacity: int = 1_000, wait_s: float = 0.01) -> ImpressionSender:
        senders.append(ImpressionSender(lambda: delivery, capacity=capacity, batch=batch, wait_s=wait_s))
        return senders[-1]

    yield make
    delivery.gate.set()
    for sender in senders:
        sender.close()


def test_they_arrive_in_order_in_batches(start: Start, delivery: FakeDelivery) -> None:
    sender = start(batch=10, wait_s=5)
    for n in range(20):
        sender.send(impression(n))
    delivery.wait_for(impressions=20)
    assert [i.id for i in delivery.impressions] == [str(n) for n in range(20)]
    assert [len(batch.impressions) for batch in delivery.batches] == [10, 10]
    assert len({batch.id for batch in delivery.batches}) == 2


def test_a_few_do_not_wait_for_a_full_batch(start: Start, delivery: FakeDelivery) -> None:
    start(batch=1_000).send(impression(1))
    delivery.wait_for(impressions=1)


def test_nothing_is_started_or_connected_before_the_first_one() -> None:
    threads = threading.active_count()
    connected = threading.Event()

    def connect() -> FakeDelivery:
        connected.set()
        return FakeDelivery()

    sender = ImpressionSender(connect, capacity=10)
    assert threading.active_count() == threads
    assert not connected.is_set()
    sender.close()


def test_a_receiver_that_hangs_holds_nobody_up_and_the_oldest_go_first(
    start: Start, delivery: FakeDelivery
) -> None:
    """One batch of one hangs in the delivery; of the nine behind it the newest three are kept."""
    delivery.gate.clear()
    sender = start(batch=1, capacity=3)
    sender.send(impression(0))
    while sender.queued:
        pass
    for n in range(1, 10):
        sender.send(impression(n))
    assert (sender.queued, sender.dropped) == (3, 6)
    delivery.gate.set()
    delivery.wait_for(impressions=4)
    assert [i.id for i in delivery.impressions] == ["0", "7", "8", "9"]


def test_a_receiver_that_was_down_gets_them_later(start: Start, delivery: FakeDelivery) -> None:
    delivery.error = DOWN
    sender = start()
    for n in range(3):
        sender.send(impression(n))
    delivery.wait_for(attempts=2)
    delivery.error = None
    delivery.wait_for(impressions=3)
    assert [i.id for i in delivery.impressions] == ["0", "1", "2"]
    assert sender.dropped == 0


def test_what_is_put_back_keeps_to_the_capacity(start: Start, delivery: FakeDelivery) -> None:
    """Those that could not be delivered are older than those that came since."""
    delivery.error = DOWN
    delivery.gate.clear()
    sender = start(batch=2, capacity=2)
    for n in range(2):
        sender.send(impression(n))
    while sender.queued:
        pass
    for n in range(2, 4):
        sender.send(impression(n))
    delivery.gate.set()
    delivery.wait_for(attempts=2)
    delivery.error = None
    delivery.wait_for(impressions=2)
    assert [i.id for i in delivery.impressions] == ["2", "3"]
    assert sender.dropped == 2


def test_what_will_never_be_accepted_is_counted_and_let_go(start: Start, delivery: FakeDelivery) -> None:
    delivery.error = InvalidBatch("no such event", b"")
    sender = start(batch=1)
    sender.send(impression(1))
    delivery.wait_for(attempts=1)
    delivery.error = None
    sender.send(impression(2))
    delivery.wait_for(impressions=1)
    assert [i.id for i in delivery.impressions] == ["2"]
    assert sender.refused == 1


def test_the_thread_outlives_a_delivery_that_cannot_be_made(delivery: FakeDelivery) -> None:
    tries = iter([ValueError("no such place"), None])
    made = threading.Event()

    def connect() -> FakeDelivery:
        error = next(tries)
        if error:
            raise error
        made.set()
        return delivery

    sender = ImpressionSender(connect, capacity=10, wait_s=0.01)
    sender.send(impression(1))
    assert made.wait(10)
    delivery.wait_for(impressions=1)
    sender.close()


def test_closing_sends_what_is_queued(start: Start, delivery: FakeDelivery) -> None:
    """At the end of the process nothing waits for its batch to fill."""
    sender = start(batch=1_000, wait_s=3_600)
    for n in range(5):
        sender.send(impression(n))
    sender.close()
    assert len(delivery.impressions) == 5
    assert delivery.closed
    assert (sender.sent, sender.dropped) == (5, 0)


def test_closing_does_not_wait_for_a_receiver_that_is_down(start: Start, delivery: FakeDelivery) -> None:
    """One attempt, and what is lost is counted."""
    delivery.error = DOWN
    sender = start(batch=1_000, wait_s=3_600)
    sender.send(impression(1))
    sender.close()
    assert (delivery.attempts, sender.dropped, sender.queued) == (1, 1, 0)


def test_closing_leaves_a_receiver_that_hangs(start: Start, delivery: FakeDelivery) -> None:
    delivery.gate.clear()
    sender = start(batch=1)
    sender.send(impression(1))
    sender.send(impression(2))
    sender.close(timeout_s=0.05)
    assert sender.dropped >= 1


def test_after_closing_nothing_begins_anew(start: Start, delivery: FakeDelivery) -> None:
    sender = start()
    sender.close()
    sender.send(impression(1))
    assert delivery.attempts == 0
