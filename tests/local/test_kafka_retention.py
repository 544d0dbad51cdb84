"""The embedded broker's batches: what is committed goes, what is not stays, and nobody notices."""

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
    """One line a batch, one batch a file."""
    producer = Producer({"bootstrap.servers": broker.bootstrap, "linger.ms": 0, "batch.num.messages": 1})
    for number in range(first, first + count):
        producer.produce(topic, str(number).encode())
    assert producer.flush(20) == 0


def consume(broker: EmbeddedKafka, topic: str, count: int) -> list[str]:
    """The next lines of the group; the last of them is committed."""
    options = {"group.id": "group", "auto.offset.reset": "earliest", "enable.auto.commit": False}
    consumer = Consumer({"bootstrap.servers": broker.bootstrap, **CONSUMER_OPTIONS, **options})
    consumer.subscribe([topic])
    found: list[str] = []
    while len(found) < count:
        message = consumer.poll(20)
        assert message is not None
        assert message.error() is None
        found.append(message.value().decode())
        consumer.commit(message, asynchronous=False)
    consumer.close()
    return found


def files(broker: EmbeddedKafka, topic: str) -> list[int]:
    return sorted(int(path.stem) for path in broker.directory.glob(f"**/{topic}/**/*.batch"))


def test_nothing_goes_before_it_is_committed(broker: EmbeddedKafka) -> None:
    """A group that has committed nothing still gets every line."""
    broker.create_topic("uncommitted", 1)
    produce(broker, "uncommitted", 0, 10)
    assert KafkaRetention(broker.directory, "uncommitted", "group", kept=2).trim() == 0
    assert consume(broker, "uncommitted", 10) == [str(n) for n in range(10)]


def test_what_is_committed_goes_and_the_rest_is_read(broker: EmbeddedKafka) -> None:
    """The committed batches go but for the newest; the group resumes where it was, and new lines come."""
    broker.create_topic("committed", 1)
    produce(broker, "committed", 0, 30)
    consume(broker, "committed", 20)
    retention = KafkaRetention(broker.directory, "committed", "group", kept=5)
    assert retention.trim() == 20
    assert files(broker, "committed") == list(range(20, 30))
    produce(broker, "committed", 30, 5)
    assert consume(broker, "committed", 15) == [str(n) for n in range(20, 35)]
    assert retention.trim() == 10
    assert files(broker, "committed") == list(range(30, 35))


def test_a_restarted_broker_knows_its_offsets(tmp_path: Path) -> None:
    """Trimmed, killed and started again, it goes on counting where it was."""
    with EmbeddedKafka(tmp_path, durable=True) as broker:
        broker.create_topic("again", 1)
        produce(broker, "again", 0, 20)
        consume(broker, "again", 20)
        assert KafkaRetention(broker.directory, "again", "group", kept=1).trim() == 19
        broker.kill()
        broker.start()
        produce(broker, "again", 20, 3)
        assert consume(broker, "again", 3) == ["20", "21", "22"]


def test_without_a_topic(tmp_path: Path) -> None:
    """A directory that holds nothing yet is no error."""
    retention = KafkaRetention(tmp_path, "none", "group")
    retention.start()
    assert retention.trim() == 0
    retention.stop()
