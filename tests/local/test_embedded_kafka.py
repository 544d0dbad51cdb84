"""The embedded broker: durable records, restarts, topics and ports."""

from __future__ import annotations

import os
import socket
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from marquee.bridge.kafka_client import TopicIds
from marquee.config.settings import Settings
from marquee.errors import KafkaUnavailable
from marquee.local.embedded_kafka import EmbeddedKafka
from marquee.local.process import ProcessFailed

pytestmark = pytest.mark.servers


def produce(kafka: EmbeddedKafka, topic: str, values: list[bytes]) -> None:
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "log_level": 0})
    for value in values:
        producer.produce(topic, value, partition=0)
    assert producer.flush(20) == 0


def consume(kafka: EmbeddedKafka, topic: str, count: int) -> list[bytes]:
    consumer = Consumer({"bootstrap.servers": kafka.bootstrap, "group.id": "test", "log_level": 0})
    consumer.assign([TopicPartition(topic, 0, 0)])
    values = [message.value() or b"" for _ in range(count) if (message := consumer.poll(20))]
    consumer.close()
    return values


def test_durable_broker_killed_keeps_its_records(tmp_path: Path) -> None:
    """After SIGKILL of the broker and its storage, the same port serves the same records."""
    with EmbeddedKafka(tmp_path, durable=True) as kafka:
        kafka.create_topic("log", 1)
        produce(kafka, "log", [b"one", b"two"])
        bootstrap = kafka.bootstrap
        kafka.kill()
        assert not kafka.running
        kafka.start()
        assert kafka.bootstrap == bootstrap
        produce(kafka, "log", [b"three"])
        assert consume(kafka, "log", 3) == [b"one", b"two", b"three"]


def test_create_topic_existing_topic_keeps_its_partitions(kafka: EmbeddedKafka) -> None:
    """The second call succeeds and changes nothing, whatever number of partitions it names."""
    for partitions in (2, 3):
        kafka.create_topic("twice", partitions)
        topics = AdminClient({"bootstrap.servers": kafka.bootstrap}).list_topics(timeout=10).topics
        assert len(topics["twice"].partitions) == 2


def test_start_port_in_use_is_named(tmp_path: Path) -> None:
    """A port of another server is an error that names the port."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ProcessFailed, match=str(port)):
            EmbeddedKafka(tmp_path, durable=False, port=port).start()


def test_stop_unstarted_or_stopped_broker_does_nothing(tmp_path: Path) -> None:
    """Clean-up does not need to know whether the broker was started."""
    kafka = EmbeddedKafka(tmp_path, durable=False)
    kafka.stop()
    kafka.start()
    assert kafka.running
    kafka.stop()
    kafka.stop()
    assert kafka.pids == ()


def test_memory_broker_two_idempotent_producers_lose_nothing(kafka: EmbeddedKafka) -> None:
    """Both deliver all their records to one topic, in turns and in small batches."""
    kafka.create_topic("two", 1)
    options = {"bootstrap.servers": kafka.bootstrap, "enable.idempotence": True, "log_level": 0}
    producers = [Producer(options) for _ in range(2)]
    for number in range(1_000):
        producers[number % 2].produce("two", str(number).encode(), partition=0)
        if number % 20 == 0:
            assert [producer.flush(20) for producer in producers] == [0, 0]
    assert [producer.flush(20) for producer in producers] == [0, 0]
    assert sorted(map(int, consume(kafka, "two", 1_000))) == list(range(1_000))


def test_recreate_topic_is_empty_and_frees_memory(tmp_path: Path) -> None:
    """The new topic has another id and no record, and the broker gives back what the old one took."""
    with EmbeddedKafka(tmp_path, durable=False, topic="log") as kafka:
        topics = TopicIds(Settings(kafka_bootstrap=kafka.bootstrap))
        before, empty_mb = topics.id("log"), kafka.memory_mb
        producer = Producer({"bootstrap.servers": kafka.bootstrap, "log_level": 0})
        for _ in range(4_000):
            producer.produce("log", os.urandom(10_000), partition=0)
            producer.poll(0.0005)
        assert producer.flush(30) == 0
        full_mb = kafka.memory_mb
        assert full_mb > empty_mb + 30
        kafka.recreate_topic("log")
        assert topics.id("log") != before
        assert kafka.memory_mb < full_mb - 20
        produce(kafka, "log", [b"first"])
        assert consume(kafka, "log", 1) == [b"first"]


def test_start_memory_broker_after_a_kill_has_its_topic(tmp_path: Path) -> None:
    """A supervisor restarts the broker by ``start`` alone, and its clients find the topic."""
    with EmbeddedKafka(tmp_path, durable=False, topic="log") as kafka:
        kafka.kill()
        kafka.start()
        produce(kafka, "log", [b"one"])
        assert consume(kafka, "log", 1) == [b"one"]


@pytest.mark.parametrize("durable", [False, True])
def test_start_behind_a_proxy_variable_creates_its_topic(
    durable: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broker reaches its storage on this machine directly, although a proxy is set."""
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with EmbeddedKafka(tmp_path, durable=durable, topic="log") as kafka:
        produce(kafka, "log", [b"one"])


def test_create_topic_without_an_answer_is_reported(kafka: EmbeddedKafka, monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that does not answer the request in time is named in a sentence."""

    def create_topics(_client: AdminClient, topics: list[Any], **_: Any) -> dict[str, Future[None]]:
        return {topic.topic: Future() for topic in topics}

    monkeypatch.setattr(AdminClient, "create_topics", create_topics)
    with pytest.raises(KafkaUnavailable, match=f"{kafka.bootstrap} did not create topic never within 0.1 s"):
        kafka.create_topic("never", timeout_s=0.1)
