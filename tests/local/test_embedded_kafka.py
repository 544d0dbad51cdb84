"""The embedded broker holds what it acknowledged, and comes back where it was."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from marquee.local.embedded_kafka import EmbeddedKafka
from marquee.local.process import ProcessFailed

pytestmark = pytest.mark.servers


def _produce(kafka: EmbeddedKafka, topic: str, values: list[bytes]) -> None:
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "log_level": 0})
    for value in values:
        producer.produce(topic, value, partition=0)
    assert producer.flush(20) == 0


def _consume(kafka: EmbeddedKafka, topic: str, count: int) -> list[bytes]:
    consumer = Consumer({"bootstrap.servers": kafka.bootstrap, "group.id": "test", "log_level": 0})
    consumer.assign([TopicPartition(topic, 0, 0)])
    values = [message.value() for _ in range(count) if (message := consumer.poll(20))]
    consumer.close()
    return values


def test_durable_broker_survives_being_killed(tmp_path: Path) -> None:
    """After SIGKILL of the broker and its storage, the same port serves the same records."""
    with EmbeddedKafka(tmp_path, durable=True) as kafka:
        kafka.create_topic("log", 1)
        _produce(kafka, "log", [b"one", b"two"])
        bootstrap = kafka.bootstrap
        kafka.kill()
        assert not kafka.running
        kafka.start()
        assert kafka.bootstrap == bootstrap
        _produce(kafka, "log", [b"three"])
        assert _consume(kafka, "log", 3) == [b"one", b"two", b"three"]


def test_topic_may_be_made_twice(kafka: EmbeddedKafka) -> None:
    """``create_topic`` is what a start-up script wants: there afterwards, whoever made it."""
    kafka.create_topic("twice", 2)
    kafka.create_topic("twice", 2)


def test_taken_port_is_named(tmp_path: Path) -> None:
    """A port that somebody else holds is an error that says which."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ProcessFailed, match=str(port)):
            EmbeddedKafka(tmp_path, durable=False, port=port).start()


def test_stopping_twice_and_unstarted_is_fine(tmp_path: Path) -> None:
    """Cleaning up never needs to know what was started."""
    kafka = EmbeddedKafka(tmp_path, durable=False)
    kafka.stop()
    kafka.start()
    assert kafka.running
    kafka.stop()
    kafka.stop()
    assert kafka.pids == ()
