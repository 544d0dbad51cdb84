"""One contract for every delivery, on the wire: a future that resolves means accepted."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from concurrent.futures import wait
from datetime import UTC, datetime

import grpc
import psutil
import pytest
from tests.servers.pubsub import PubSubServer
from tests.servers.receiver import Receiver

from marquee.bridge.delivery import delivery as delivery_module
from marquee.bridge.delivery.delivery import Delivery
from marquee.bridge.delivery.delivery_factory import connect_delivery
from marquee.errors import DeliveryFailed, InvalidBatch, SettingsError
from marquee.events.batches import StreamBatch, make_record
from marquee.events.envelopes import STREAM_BATCH, Envelope, encode_batch, from_http, open_envelope
from marquee.local.process import free_port

pytestmark = pytest.mark.servers


def _envelope(number: int, size: int = 10) -> Envelope:
    return encode_batch(StreamBatch("log", "s", 0, (make_record(number, 0, b"x" * size),)))


class Destination(ABC):
    """A destination of deliveries, as the contract sees it."""

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
    def connections(self) -> int: ...

    @abstractmethod
    def close(self) -> None: ...


class HttpDestination(Destination):
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

    def connections(self) -> int:
        return self.receiver.connections

    def close(self) -> None:
        self.receiver.close()


class PubSubDestination(Destination):
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

    def connections(self) -> int:
        port = int(self.server.host.rpartition(":")[2])
        return sum(bool(c.raddr) and c.laddr.port == port for c in psutil.Process().net_connections("tcp"))

    def close(self) -> None:
        del os.environ["PUBSUB_EMULATOR_HOST"]
        self.server.close()


@pytest.fixture(params=[HttpDestination, PubSubDestination], ids=["http", "pubsub"])
def destination(request: pytest.FixtureRequest) -> Iterator[Destination]:
    destination = request.param()
    yield destination
    destination.close()


@pytest.fixture
def delivery(destination: Destination) -> Iterator[Delivery]:
    delivery = connect_delivery(destination.url, timeout_s=30)
    yield delivery
    destination.release()
    delivery.close()


def test_submit_accepted_envelope_arrives_unchanged(destination: Destination, delivery: Delivery) -> None:
    """Every attribute and every byte."""
    envelope = _envelope(1)
    delivery.submit(envelope).result(30)
    assert destination.accepted() == [envelope]
    assert open_envelope(destination.accepted()[0]) == open_envelope(envelope)


def test_submit_future_is_open_until_acceptance(destination: Destination, delivery: Delivery) -> None:
    """While the receiver has not answered, the future is not done."""
    destination.hold()
    future = delivery.submit(_envelope(1))
    assert wait([future], timeout=0.3).not_done
    destination.release()
    future.result(30)


def test_submit_transient_refusal_raises_delivery_failed(destination: Destination, delivery: Delivery) -> None:
    """One submit is one attempt; the caller decides about the next."""
    destination.fail_next(terminal=False)
    with pytest.raises(DeliveryFailed):
        delivery.submit(_envelope(1)).result(30)
    assert destination.accepted() == []
    delivery.submit(_envelope(1)).result(30)
    assert [envelope.id for envelope in destination.accepted()] == ["log/0/1-1"]


def test_submit_permanent_refusal_raises_invalid_batch(destination: Destination, delivery: Delivery) -> None:
    """The next envelope is accepted all the same."""
    destination.fail_next(terminal=True)
    with pytest.raises(InvalidBatch, match="log/0/1-1"):
        delivery.submit(_envelope(1)).result(30)
    delivery.submit(_envelope(2)).result(30)
    assert len(destination.accepted()) == 1


def test_submit_lost_answer_raises_delivery_failed(destination: Destination, delivery: Delivery) -> None:
    """The receiver can handle a duplicate, but not a lost envelope."""
    destination.lose_next_answer()
    with pytest.raises(DeliveryFailed):
        delivery.submit(_envelope(1)).result(30)
    delivery.submit(_envelope(1)).result(30)
    assert {envelope.id for envelope in destination.accepted()} == {"log/0/1-1"}


def test_submit_many_envelopes_each_arrives_once(destination: Destination, delivery: Delivery) -> None:
    """Over one or several connections."""
    envelopes = [_envelope(number) for number in range(200)]
    for future in [delivery.submit(envelope) for envelope in envelopes]:
        future.result(60)
    assert sorted(destination.accepted(), key=lambda e: e.id) == sorted(envelopes, key=lambda e: e.id)


def test_submit_large_envelope_arrives(destination: Destination, delivery: Delivery) -> None:
    """A batch of 8 MB, twice the bridge's limit."""
    delivery.submit(_envelope(1, 8_000_000)).result(60)
    assert len(destination.accepted()[0].data) > 8_000_000


def test_close_waits_for_deliveries_in_flight(destination: Destination) -> None:
    """Earlier submissions are delivered; later ones fail and say why."""
    delivery = connect_delivery(destination.url, timeout_s=30)
    futures = [delivery.submit(_envelope(number)) for number in range(20)]
    delivery.close()
    assert all(future.done() and future.exception() is None for future in futures)
    with pytest.raises(DeliveryFailed, match="closed"):
        delivery.submit(_envelope(99)).result(30)


def test_close_receiver_that_never_answers_returns(monkeypatch: pytest.MonkeyPatch, destination: Destination) -> None:
    """The envelopes in flight and those that wait are given up; they will be sent again."""
    monkeypatch.setattr(delivery_module, "CLOSE_S", 0.1)
    destination.hold()
    delivery = connect_delivery(destination.url, timeout_s=30, concurrency=1)
    futures = [delivery.submit(_envelope(number)) for number in range(3)]
    delivery.close()
    assert not any(future.done() and not future.cancelled() for future in futures)
    destination.release()
    wait(futures, 30)


def test_close_unused_delivery_has_made_no_connection(destination: Destination) -> None:
    """The delivery connects when it sends the first envelope."""
    connect_delivery(destination.url, timeout_s=30).close()
    assert destination.connections() == 0


def test_submit_without_answer_fails_after_timeout(destination: Destination) -> None:
    """A receiver that never answers is a transient failure."""
    destination.hold()
    delivery = connect_delivery(destination.url, timeout_s=0.3)
    with pytest.raises(DeliveryFailed):
        delivery.submit(_envelope(1)).result(30)
    destination.release()
    delivery.close()


def test_submit_without_receiver_fails_and_names_url(monkeypatch: pytest.MonkeyPatch) -> None:
    """A receiver that is away is a transient failure."""
    port = free_port()
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", f"127.0.0.1:{port}")
    for url in (f"http://127.0.0.1:{port}/", "pubsub://project/events"):
        delivery = connect_delivery(url, timeout_s=5)
        with pytest.raises(DeliveryFailed, match=url):
            delivery.submit(_envelope(1)).result(30)
        delivery.close()


def test_submit_after_closed_connection_reconnects() -> None:
    """Connections that the receiver closed are opened again without a failure."""
    receiver = Receiver()
    delivery = connect_delivery(receiver.url, timeout_s=30)
    delivery.submit(_envelope(1)).result(30)
    receiver.drop_connections()
    delivery.submit(_envelope(2)).result(30)
    assert len(receiver.accepted) == 2
    delivery.close()
    receiver.close()


def test_submit_reuses_connections() -> None:
    """A thousand batches do not cost a thousand handshakes."""
    receiver = Receiver()
    delivery = connect_delivery(receiver.url, timeout_s=30, concurrency=2)
    for future in [delivery.submit(_envelope(number)) for number in range(50)]:
        future.result(30)
    assert receiver.connections <= 2
    delivery.close()
    receiver.close()


@pytest.mark.parametrize("status", [301, 401, 403, 404, 408, 429, 500, 503])
def test_submit_http_status_about_the_moment_is_transient(status: int) -> None:
    """A wrong address or credentials can be fixed, and then the same envelope is accepted."""
    receiver = Receiver()
    receiver.answers.append(status)
    delivery = connect_delivery(receiver.url, timeout_s=30)
    with pytest.raises(DeliveryFailed, match=str(status)):
        delivery.submit(_envelope(1)).result(30)
    delivery.close()
    receiver.close()


def test_submit_to_missing_topic_is_transient() -> None:
    """As with HTTP 404, the envelope itself is not at fault."""
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


def test_submit_above_pubsub_limit_raises_invalid_batch() -> None:
    """Pub/Sub would refuse more than 10 MB each time."""
    destination = PubSubDestination()
    delivery = connect_delivery(destination.url, timeout_s=30)
    with pytest.raises(InvalidBatch):
        delivery.submit(_envelope(1, 10_000_001)).result(30)
    delivery.close()
    destination.close()


@pytest.mark.parametrize("url", ["", "kafka://a/b", "pubsub://project", "pubsub://p/a/b", "http://", "pubsub:///t"])
def test_connect_delivery_invalid_url_raises_settings_error(url: str) -> None:
    """The message shows a valid URL."""
    with pytest.raises(SettingsError, match="pubsub://project/topic"):
        connect_delivery(url, timeout_s=1)


def test_submit_keeps_path_and_query() -> None:
    """A function behind a gateway may need them."""
    envelope = Envelope("1", STREAM_BATCH, "s", datetime.now(UTC), b"{}")
    receiver = Receiver()
    delivery = connect_delivery(receiver.url + "a/b?key=c", timeout_s=30)
    delivery.submit(envelope).result(30)
    assert receiver.paths == ["/a/b?key=c"]
    delivery.close()
    receiver.close()
