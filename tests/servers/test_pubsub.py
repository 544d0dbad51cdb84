"""Tests of the Pub/Sub server of the tests: it behaves as Google's emulator does."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.api_core.exceptions import AlreadyExists, InvalidArgument, NotFound
from google.cloud import pubsub_v1
from google.pubsub_v1 import types
from tests.servers.pubsub import PubSubServer
from tests.servers.receiver import Receiver

from marquee.bridge.delivery.delivery_factory import connect_delivery
from marquee.events.batches import StreamBatch, make_record
from marquee.events.envelopes import Envelope, encode_batch, from_http
from marquee.local.process import Process, free_port, port_open

pytestmark = pytest.mark.servers
SDK_ROOTS = [
    Path("/usr/lib/google-cloud-sdk"),
    Path("/opt/google-cloud-sdk"),
    Path.home() / "google-cloud-sdk",
]
EMULATOR = "platform/pubsub-emulator/lib/cloud-pubsub-emulator-*-all.jar"
TOPIC, SUBSCRIPTION = "projects/project/topics/events", "projects/project/subscriptions/ingest"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[PubSubServer]:
    server = PubSubServer()
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", server.host)
    yield server
    server.close()


@pytest.fixture(params=["ours", "google's emulator"])
def host(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """Provide the address of the test server, and of Google's emulator if a Cloud SDK is installed."""
    if request.param == "ours":
        server: PubSubServer = request.getfixturevalue("server")
        yield server.host
        return
    jars = [jar for root in SDK_ROOTS for jar in root.glob(EMULATOR)]
    if not jars or not shutil.which("java"):
        pytest.skip("no Cloud SDK with a Pub/Sub emulator on this machine")
    port = free_port()
    argv = ["java", "-jar", str(jars[0]), "--host=127.0.0.1", f"--port={port}"]
    emulator = Process("emulator", argv, tmp_path / "emulator.log")
    emulator.start()
    emulator.wait_healthy(lambda: port_open(port), 60)
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", f"127.0.0.1:{port}")
    yield f"127.0.0.1:{port}"
    emulator.stop()


@pytest.fixture
def publisher(host: str) -> Iterator[pubsub_v1.PublisherClient]:
    client = pubsub_v1.PublisherClient()
    yield client
    client.stop()
    client.transport.close()


@pytest.fixture
def subscriber(host: str) -> Iterator[pubsub_v1.SubscriberClient]:
    with pubsub_v1.SubscriberClient() as client:
        yield client


def test_publish_reaches_google_subscriber(
    publisher: pubsub_v1.PublisherClient, subscriber: pubsub_v1.SubscriberClient
) -> None:
    """Topic and subscription are created over the wire; streaming pull acknowledges everything."""
    publisher.create_topic(name=TOPIC)
    with pytest.raises(AlreadyExists):
        publisher.create_topic(name=TOPIC)
    subscriber.create_subscription(name=SUBSCRIPTION, topic=TOPIC)
    received: list[bytes] = []
    done = threading.Event()

    def receive(message: pubsub_v1.subscriber.message.Message) -> None:
        received.append(message.data)
        message.ack()
        if len(received) == 50:
            done.set()

    pulling = subscriber.subscribe(SUBSCRIPTION, receive)
    for number in range(50):
        publisher.publish(TOPIC, b"%d" % number, kind="x").result(30)
    assert done.wait(30)
    pulling.cancel()
    pulling.result(30)
    assert sorted(map(int, received)) == list(range(50))


def test_unacknowledged_message_is_delivered_again(
    publisher: pubsub_v1.PublisherClient, subscriber: pubsub_v1.SubscriberClient
) -> None:
    """A lease that is returned is leased again."""
    publisher.create_topic(name=TOPIC)
    subscriber.create_subscription(name=SUBSCRIPTION, topic=TOPIC)
    publisher.publish(TOPIC, b"x").result(30)
    first = subscriber.pull(subscription=SUBSCRIPTION, max_messages=1).received_messages[0]
    subscriber.modify_ack_deadline(subscription=SUBSCRIPTION, ack_ids=[first.ack_id], ack_deadline_seconds=0)
    second = subscriber.pull(subscription=SUBSCRIPTION, max_messages=1).received_messages[0]
    assert second.message.data == b"x"
    assert second.ack_id != first.ack_id


def test_get_topic_unknown_topic_is_not_found(publisher: pubsub_v1.PublisherClient) -> None:
    """The status distinguishes it from a fault."""
    with pytest.raises(NotFound):
        publisher.get_topic(topic="projects/project/topics/none")


def test_create_topic_short_name_is_invalid(publisher: pubsub_v1.PublisherClient) -> None:
    """A name has at least three characters, as with Google."""
    with pytest.raises(InvalidArgument):
        publisher.create_topic(name="projects/project/topics/t")


def test_delivery_message_is_the_cloudevent(
    publisher: pubsub_v1.PublisherClient, subscriber: pubsub_v1.SubscriberClient
) -> None:
    """Attributes and data of a pulled message are those of the CloudEvent that was submitted."""
    publisher.create_topic(name=TOPIC)
    subscriber.create_subscription(name=SUBSCRIPTION, topic=TOPIC)
    envelopes = _publish(7)
    pulled = subscriber.pull(subscription=SUBSCRIPTION, max_messages=1).received_messages[0].message
    assert [from_http(dict(pulled.attributes), pulled.data)] == envelopes


def _publish(*numbers: int) -> list[Envelope]:
    delivery = connect_delivery("pubsub://project/events", timeout_s=30)
    envelopes = [encode_batch(StreamBatch("log", "s", 0, (make_record(number, 0, b"a"),))) for number in numbers]
    for envelope in envelopes:
        delivery.submit(envelope).result(30)
    delivery.close()
    return envelopes


def test_push_is_retried_until_accepted(server: PubSubServer) -> None:
    """An endpoint that answers 503 and 500 receives the messages again, and all of them in the end."""
    receiver = Receiver()
    receiver.answers.extend([503, 500])
    server.create_topic("project", "events")
    name = server.create_push("project", "ingest", "events", receiver.url)
    envelopes = _publish(1, 2, 3)
    receiver.wait_for(lambda: len(receiver.accepted) == 3 and server.backlog(name) == 0)
    assert sorted(receiver.accepted, key=lambda e: e.id) == envelopes
    assert len(receiver.refused) == 2
    receiver.close()


def test_push_failing_always_reaches_dead_letter_topic(server: PubSubServer) -> None:
    """After the maximum of attempts, unchanged."""
    receiver, dead_letters = Receiver(), Receiver()
    receiver.always = 503
    server.create_topic("project", "events")
    dead = server.create_topic("project", "dead")
    policy = types.DeadLetterPolicy(dead_letter_topic=dead, max_delivery_attempts=5)
    server.create_push("project", "ingest", "events", receiver.url, dead_letter_policy=policy)
    server.create_push("project", "dead", "dead", dead_letters.url)
    envelopes = _publish(1)
    dead_letters.wait_for(lambda: len(dead_letters.accepted) == 1)
    assert dead_letters.accepted == envelopes
    assert len(receiver.refused) == 5
    receiver.close()
    dead_letters.close()
