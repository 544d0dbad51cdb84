"""The embedded broker: durable records, restarts, topics and ports."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

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
