"""Tests of impressions: sent in batches, never in the way of a request."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest
from tests.serving.fakes import DOWN
from tests.support.fake_delivery import FakeDelivery

from marquee.errors import InvalidBatch
from marquee.events.batches import Impression, ImpressionMovie
from marquee.serving.impressions import ImpressionSender

Start = Callable[..., ImpressionSender]


def make_impression(n: int) -> Impression:
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


def test_send_impressions_arrive_in_order_in_batches(start: Start, delivery: FakeDelivery) -> None:
    """Two batches of ten, each with an id of its own."""
    sender = start(batch=10, wait_s=5)
    for n in range(20):
        sender.send(make_impression(n))
    delivery.wait_for(impressions=20)
    assert [i.id for i in delivery.impressions] == [str(n) for n in range(20)]
    assert [len(batch.impressions) for batch in delivery.batches] == [10, 10]
    assert len({batch.id for batch in delivery.batches}) == 2


def test_send_few_impressions_do_not_wait_for_a_full_batch(start: Start, delivery: FakeDelivery) -> None:
    """A batch is sent after ``wait_s`` however small it is."""
    start(batch=1_000).send(make_impression(1))
    delivery.wait_for(impressions=1)


def test_sender_unused_starts_and_connects_nothing() -> None:
    """There is neither a thread nor a connection before the first impression."""
    threads = threading.active_count()
    connected = threading.Event()

    def connect() -> FakeDelivery:
        connected.set()
        return FakeDelivery()

    sender = ImpressionSender(connect, capacity=10)
    assert threading.active_count() == threads
    assert not connected.is_set()
    sender.close()


def test_send_hanging_receiver_drops_the_oldest(start: Start, delivery: FakeDelivery) -> None:
    """One batch of one hangs in the delivery; of the nine behind it the newest three are kept."""
    delivery.gate.clear()
    sender = start(batch=1, capacity=3)
    sender.send(make_impression(0))
    while sender.queued:
        pass
    for n in range(1, 10):
        sender.send(make_impression(n))
    assert (sender.queued, sender.dropped) == (3, 6)
    delivery.gate.set()
    delivery.wait_for(impressions=4)
    assert [i.id for i in delivery.impressions] == ["0", "7", "8", "9"]


def test_send_receiver_down_is_retried(start: Start, delivery: FakeDelivery) -> None:
    """All impressions arrive in order once the receiver is back."""
    delivery.error = DOWN
    sender = start()
    for n in range(3):
        sender.send(make_impression(n))
    delivery.wait_for(attempts=2)
    delivery.error = None
    delivery.wait_for(impressions=3)
    assert [i.id for i in delivery.impressions] == ["0", "1", "2"]
    assert sender.dropped == 0


def test_requeue_over_capacity_drops_the_oldest(start: Start, delivery: FakeDelivery) -> None:
    """Impressions that could not be delivered are older than those that came since."""
    delivery.error = DOWN
    delivery.gate.clear()
    sender = start(batch=2, capacity=2)
    for n in range(2):
        sender.send(make_impression(n))
    while sender.queued:
        pass
    for n in range(2, 4):
        sender.send(make_impression(n))
    delivery.gate.set()
    delivery.wait_for(attempts=2)
    delivery.error = None
    delivery.wait_for(impressions=2)
    assert [i.id for i in delivery.impressions] == ["2", "3"]
    assert sender.dropped == 2


def test_send_refused_batch_is_counted_and_dropped(start: Start, delivery: FakeDelivery) -> None:
    """The next impression is delivered."""
    delivery.error = InvalidBatch("no such event", b"")
    sender = start(batch=1)
    sender.send(make_impression(1))
    delivery.wait_for(attempts=1)
    delivery.error = None
    sender.send(make_impression(2))
    delivery.wait_for(impressions=1)
    assert [i.id for i in delivery.impressions] == ["2"]
    assert sender.refused == 1


def test_send_failing_connect_is_retried(delivery: FakeDelivery) -> None:
    """An error of ``connect`` does not end the thread."""
    tries = iter([ValueError("no such receiver"), None])
    made = threading.Event()

    def connect() -> FakeDelivery:
        error = next(tries)
        if error:
            raise error
        made.set()
        return delivery

    sender = ImpressionSender(connect, capacity=10, wait_s=0.01)
    sender.send(make_impression(1))
    assert made.wait(10)
    delivery.wait_for(impressions=1)
    sender.close()


def test_close_sends_the_queue(start: Start, delivery: FakeDelivery) -> None:
    """At the end of the process no impression waits for its batch to fill."""
    sender = start(batch=1_000, wait_s=3_600)
    for n in range(5):
        sender.send(make_impression(n))
    sender.close()
    assert len(delivery.impressions) == 5
    assert delivery.closed
    assert (sender.sent, sender.dropped) == (5, 0)


def test_close_receiver_down_makes_one_attempt(start: Start, delivery: FakeDelivery) -> None:
    """Lost impressions are counted."""
    delivery.error = DOWN
    sender = start(batch=1_000, wait_s=3_600)
    sender.send(make_impression(1))
    sender.close()
    assert (delivery.attempts, sender.dropped, sender.queued) == (1, 1, 0)


def test_close_hanging_receiver_returns_at_the_timeout(start: Start, delivery: FakeDelivery) -> None:
    """Lost impressions are counted."""
    delivery.gate.clear()
    sender = start(batch=1)
    sender.send(make_impression(1))
    sender.send(make_impression(2))
    sender.close(timeout_s=0.05)
    assert sender.dropped >= 1


def test_send_after_close_starts_nothing(start: Start, delivery: FakeDelivery) -> None:
    """The queue is not delivered any more."""
    sender = start()
    sender.close()
    sender.send(make_impression(1))
    assert delivery.attempts == 0
