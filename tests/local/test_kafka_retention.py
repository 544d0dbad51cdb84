"""Retention of the embedded broker: committed batches are deleted, all others stay."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer

from marquee.local.embedded_kafka import CONSUMER_OPTIONS, EmbeddedKafka
from marquee.local.kafka_retention import KafkaRetention

pytestmark = pytest.mark.servers


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedKafka]:
    with EmbeddedKafka(tmp_path_factory.mktemp("broker"), durable=True) as broker:
        yield broker


def produce(broker: EmbeddedKafka, topic: str, first: int, count: int) -> None:
    """Produce one record per batch, one batch per file."""
    producer = Producer({"bootstrap.servers": broker.bootstrap, "linger.ms": 0, "batch.num.messages": 1})
    for number in range(first, first + count):
        producer.produce(topic, str(number).encode())
    assert producer.flush(20) == 0


def consume(broker: EmbeddedKafka, topic: str, count: int) -> list[str]:
    """Return the next records of the group, each committed."""
    options = {"group.id": "group", "auto.offset.reset": "earliest", "enable.auto.commit": False}
    consumer = Consumer({"bootstrap.servers": broker.bootstrap, **dict(CONSUMER_OPTIONS), **options})
    consumer.subscribe([topic])
    values: list[str] = []
    while len(values) < count:
        message = consumer.poll(20)
        assert message is not None
        assert message.error() is None
        values.append((message.value() or b"").decode())
        consumer.commit(message=message, asynchronous=False)
    consumer.close()
    return values


def batch_offsets(broker: EmbeddedKafka, topic: str) -> list[int]:
    return sorted(int(path.stem) for path in broker.directory.glob(f"**/{topic}/**/*.batch"))


def test_trim_uncommitted_batches_stay(broker: EmbeddedKafka) -> None:
    """A group that has committed nothing still gets every record."""
    broker.create_topic("uncommitted", 1)
    produce(broker, "uncommitted", 0, 10)
    assert KafkaRetention(broker.directory, "uncommitted", "group", retained=2).trim() == 0
    assert consume(broker, "uncommitted", 10) == [str(n) for n in range(10)]


def test_trim_committed_batches_are_deleted_except_the_newest(broker: EmbeddedKafka) -> None:
    """The group continues after its committed offset and gets new records."""
    broker.create_topic("committed", 1)
    produce(broker, "committed", 0, 30)
    consume(broker, "committed", 20)
    retention = KafkaRetention(broker.directory, "committed", "group", retained=5)
    assert retention.trim() == 20
    assert batch_offsets(broker, "committed") == list(range(20, 30))
    produce(broker, "committed", 30, 5)
    assert consume(broker, "committed", 15) == [str(n) for n in range(20, 35)]
    assert retention.trim() == 10
    assert batch_offsets(broker, "committed") == list(range(30, 35))


def test_trim_restarted_broker_continues_its_offsets(tmp_path: Path) -> None:
    """A broker that was trimmed, killed and restarted assigns the next offsets."""
    with EmbeddedKafka(tmp_path, durable=True) as broker:
        broker.create_topic("again", 1)
        produce(broker, "again", 0, 20)
        consume(broker, "again", 20)
        assert KafkaRetention(broker.directory, "again", "group", retained=1).trim() == 19
        broker.kill()
        broker.start()
        produce(broker, "again", 20, 3)
        assert consume(broker, "again", 3) == ["20", "21", "22"]


def test_trim_empty_directory_deletes_nothing(tmp_path: Path) -> None:
    """A directory without a topic is not an error."""
    retention = KafkaRetention(tmp_path, "none", "group")
    retention.start()
    assert retention.trim() == 0
    retention.stop()
