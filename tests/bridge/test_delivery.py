"""One contract for every delivery, on the wire: a future that resolves means accepted, and only that."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from concurrent.futures import wait
from datetime import UTC, datetime

import grpc
import pytest
from tests.servers.pubsub import PubSubServer
from tests.servers.receiver import Receiver

from marquee.bridge.delivery.delivery import Delivery
from marquee.bridge.delivery.delivery_factory import connect_delivery
from marquee.errors import DeliveryFailed, InvalidBatch, SettingsError
from marquee.events.batches import StreamBatch, make_record
from marquee.events.envelopes import STREAM_BATCH, Envelope, encode_batch, from_http, open_envelope
from marquee.local.process import free_port

pytestmark = pytest.mark.servers


def _envelope(number: int, size: int = 10) -> Envelope:
    return encode_batch(StreamBatch("log", "s", 0, (make_record(number, 0, b"x" * size),)))


class Place(ABC):
    """Somewhere to deliver to, as the contract sees it."""

    url: str

    @abstractmethod
    def accepted(self) -> list[Envelope]: ...

    @abstractmethod
    def fail_next(self, *, terminal: bool) -> None: ...

    @abstractmethod
    def lose_next_answer(self) -> None: ...

    @abstractmethod
    def hold(self) -> None: ...

    @abstractmethod
    def release(self) -> None: ...

    @abstractmethod
    def close(self) -> None: ...


class HttpPlace(Place):
    def __init__(self) -> None:
        self.receiver = Receiver()
        self.url = self.receiver.url

    def accepted(self) -> list[Envelope]:
        return list(self.receiver.accepted)

    def fail_next(self, *, terminal: bool) -> None:
        self.receiver.answers.append(400 if terminal else 503)

    def lose_next_answer(self) -> None:
        self.receiver.lose_answers = 1

    def hold(self) -> None:
        self.receiver.hold.clear()

    def release(self) -> None:
        self.receiver.hold.set()

    def close(self) -> None:
        self.receiver.close()


class PubSubPlace(Place):
    def __init__(self) -> None:
        self.server = PubSubServer()
        self.server.create_topic("project", "events")
        self.url = "pubsub://project/events"
        os.environ["PUBSUB_EMULATOR_HOST"] = self.server.host

    def accepted(self) -> list[Envelope]:
        return [from_http(dict(message.attributes), message.data) for _, message in self.server.published]

    def fail_next(self, *, terminal: bool) -> None:
        code = grpc.StatusCode.INVALID_ARGUMENT if terminal else grpc.StatusCode.UNAVAILABLE
        self.server.faults.refuse.append(code)

    def lose_next_answer(self) -> None:
        self.server.faults.lose_answers = 1

    def hold(self) -> None:
        self.server.faults.hold.clear()

    def release(self) -> None:
        self.server.faults.hold.set()

    def close(self) -> None:
        del os.environ["PUBSUB_EMULATOR_HOST"]
        self.server.close()


@pytest.fixture(params=[HttpPlace, PubSubPlace], ids=["http", "pubsub"])
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    place = request.param()
    yield place
    place.close()


@pytest.fixture
def delivery(place: Place) -> Iterator[Delivery]:
    delivery = connect_delivery(place.url, timeout_s=30)
    yield delivery
    place.release()
    delivery.close()


def test_accepted_envelope_arrives_as_it_was(place: Place, delivery: Delivery) -> None:
    """Every attribute and every byte."""
    envelope = _envelope(1)
    assert delivery.submit(envelope).result(30) is None
    assert place.accepted() == [envelope]
    assert open_envelope(place.accepted()[0]) == open_envelope(envelope)


def test_future_waits_for_acceptance(place: Place, delivery: Delivery) -> None:
    """While the receiver has not answered, nothing is promised."""
    place.hold()
    future = delivery.submit(_envelope(1))
    assert wait([future], timeout=0.3).not_done
    place.release()
    assert future.result(30) is None


def test_transient_refusal_may_be_tried_again(place: Place, delivery: Delivery) -> None:
    """One submit is one attempt: the caller decides when there is another."""
    place.fail_next(terminal=False)
    with pytest.raises(DeliveryFailed):
        delivery.submit(_envelope(1)).result(30)
    assert place.accepted() == []
    delivery.submit(_envelope(1)).result(30)
    assert [envelope.id for envelope in place.accepted()] == ["log/0/1-1"]


def test_terminal_refusal_is_told_apart(place: Place, delivery: Delivery) -> None:
    """And the next envelope is welcome all the same."""
    place.fail_next(terminal=True)
    with pytest.raises(InvalidBatch, match="log/0/1-1"):
        delivery.submit(_envelope(1)).result(30)
    delivery.submit(_envelope(2)).result(30)
    assert len(place.accepted()) == 1


def test_lost_answer_is_no_acceptance(place: Place, delivery: Delivery) -> None:
    """Whoever cannot know must say that it failed: twice is mended by the receiver, never is not."""
    place.lose_next_answer()
    with pytest.raises(DeliveryFailed):
        delivery.submit(_envelope(1)).result(30)
    delivery.submit(_envelope(1)).result(30)
    assert {envelope.id for envelope in place.accepted()} == {"log/0/1-1"}


def test_many_threads_and_envelopes(place: Place, delivery: Delivery) -> None:
    """All that were submitted arrive, each once, by one or several connections."""
    envelopes = [_envelope(number) for number in range(200)]
    for future in [delivery.submit(envelope) for envelope in envelopes]:
        future.result(60)
    assert sorted(place.accepted(), key=lambda e: e.id) == sorted(envelopes, key=lambda e: e.id)


def test_large_envelope_arrives(place: Place, delivery: Delivery) -> None:
    """A batch of 8 MB, twice what the bridge makes unless a single line is longer."""
    delivery.submit(_envelope(1, 8_000_000)).result(60)
    assert len(place.accepted()[0].data) > 8_000_000


def test_close_waits_for_what_is_under_way(place: Place) -> None:
    """What was submitted before is delivered; what comes after fails, and says why."""
    delivery = connect_delivery(place.url, timeout_s=30)
    futures = [delivery.submit(_envelope(number)) for number in range(20)]
    delivery.close()
    assert all(future.done() and future.exception() is None for future in futures)
    with pytest.raises(DeliveryFailed, match="closed"):
        delivery.submit(_envelope(99)).result(30)


def test_closing_an_unused_delivery_is_fine(place: Place) -> None:
    """Nothing is connected before the first envelope."""
    connect_delivery(place.url, timeout_s=30).close()


def test_deadline_is_kept(place: Place) -> None:
    """A receiver that never answers is a failure that may be tried again."""
    place.hold()
    delivery = connect_delivery(place.url, timeout_s=0.3)
    with pytest.raises(DeliveryFailed):
        delivery.submit(_envelope(1)).result(30)
    place.release()
    delivery.close()


def test_nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    """A receiver that is away is a transient failure that names the address."""
    port = free_port()
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", f"127.0.0.1:{port}")
    for url in (f"http://127.0.0.1:{port}/", "pubsub://project/events"):
        delivery = connect_delivery(url, timeout_s=5)
        with pytest.raises(DeliveryFailed, match=url):
            delivery.submit(_envelope(1)).result(30)
        delivery.close()


def test_receiver_may_be_restarted() -> None:
    """Connections that the receiver let go are made anew without a failure."""
    receiver = Receiver()
    delivery = connect_delivery(receiver.url, timeout_s=30)
    delivery.submit(_envelope(1)).result(30)
    receiver.drop_connections()
    delivery.submit(_envelope(2)).result(30)
    assert len(receiver.accepted) == 2
    delivery.close()
    receiver.close()


def test_connections_are_kept() -> None:
    """A thousand batches do not cost a thousand handshakes."""
    receiver = Receiver()
    delivery = connect_delivery(receiver.url, timeout_s=30, concurrency=2)
    for future in [delivery.submit(_envelope(number)) for number in range(50)]:
        future.result(30)
    assert receiver.connections <= 2
    delivery.close()
    receiver.close()


@pytest.mark.parametrize("status", [301, 401, 403, 404, 408, 429, 500, 503])
def test_http_answers_that_speak_of_the_moment(status: int) -> None:
    """A wrong address or credentials are mended by a person, and then the same envelope is welcome."""
    receiver = Receiver()
    receiver.answers.append(status)
    delivery = connect_delivery(receiver.url, timeout_s=30)
    with pytest.raises(DeliveryFailed, match=str(status)):
        delivery.submit(_envelope(1)).result(30)
    delivery.close()
    receiver.close()


def test_topic_that_is_not_there_may_come() -> None:
    """As with HTTP's 404: nothing is wrong with the envelope."""
    server = PubSubServer()
    os.environ["PUBSUB_EMULATOR_HOST"] = server.host
    delivery = connect_delivery("pubsub://project/later", timeout_s=30)
    with pytest.raises(DeliveryFailed, match="later"):
        delivery.submit(_envelope(1)).result(30)
    server.create_topic("project", "later")
    delivery.submit(_envelope(1)).result(30)
    delivery.close()
    del os.environ["PUBSUB_EMULATOR_HOST"]
    server.close()


def test_more_than_pubsub_takes_is_terminal() -> None:
    """10 MB is Pub/Sub's bound, and the same message would be refused for ever."""
    place = PubSubPlace()
    delivery = connect_delivery(place.url, timeout_s=30)
    with pytest.raises(InvalidBatch):
        delivery.submit(_envelope(1, 10_000_001)).result(30)
    delivery.close()
    place.close()


@pytest.mark.parametrize(
    "url", ["", "kafka://a/b", "pubsub://project", "pubsub://p/a/b", "http://", "pubsub:///t"]
)
def test_places_that_are_none(url: str) -> None:
    """The message shows what an address looks like."""
    with pytest.raises(SettingsError, match="pubsub://project/topic"):
        connect_delivery(url, timeout_s=1)


def test_path_and_query_are_kept() -> None:
    """A function behind a gateway may need them."""
    envelope = Envelope("1", STREAM_BATCH, "s", datetime.now(UTC), b"{}")
    receiver = Receiver()
    delivery = connect_delivery(receiver.url + "a/b?key=c", timeout_s=30)
    delivery.submit(envelope).result(30)
    assert receiver.paths == ["/a/b?key=c"]
    delivery.close()
    receiver.close()
