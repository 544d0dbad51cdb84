"""Tests of brokers without topic ids: the cluster and the topic's name identify the stream."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import pytest
from confluent_kafka import Producer, TopicPartition
from tests.servers.kafka_without_ids import KafkaWithoutIds
from tests.support.fake_delivery import FakeDelivery
from tests.support.waiting import wait_until

from marquee.bridge.bridge_limits import BridgeLimits
from marquee.bridge.consumer import Bridge
from marquee.bridge.kafka_client import TopicIds, create_consumer
from marquee.bridge.recreated_topic import check_committed_record, check_not_recreated
from marquee.config.settings import Settings
from marquee.errors import TopicRecreated
from marquee.events.batches import is_named
from marquee.local.embedded_kafka import CONSUMER_OPTIONS, EmbeddedKafka
from marquee.local.process import free_port

pytestmark = pytest.mark.servers


@pytest.fixture
def old_kafka(tmp_path: Path) -> Iterator[tuple[EmbeddedKafka, KafkaWithoutIds]]:
    """Start a broker behind a proxy that hides the topic ids; return both."""
    port = free_port()
    with (
        closing(KafkaWithoutIds(port)) as proxy,
        EmbeddedKafka(tmp_path, durable=False, port=port, advertised=proxy.address) as broker,
    ):
        yield broker, proxy


def test_topic_ids_of_old_broker_differ_by_topic(old_kafka: tuple[EmbeddedKafka, KafkaWithoutIds]) -> None:
    """The zero id is not an identity: two topics would be one."""
    broker, proxy = old_kafka
    address = proxy.address
    ids = []
    for topic in ("movielog1", "movielog2"):
        broker.create_topic(topic, 1)
        ids.append(TopicIds(Settings(kafka_bootstrap=address)).id(topic))
    assert ids[0] != ids[1]
    assert all(is_named(topic_id or "") for topic_id in ids)
    assert str(ids[0]).endswith("/movielog1")


@pytest.mark.parametrize(
    ("expected", "offsets", "valid"),
    [(50, [50, 51], True), (-1, [0, 1], True), (50, [60], True), (50, [0, 1], False), (0, [5, 6, 0], False)],
)
def test_check_not_recreated_raises_below_expected_offset(expected: int, offsets: list[int], valid: bool) -> None:
    """New records at known offsets would be dropped as written; the message says what to do."""
    if valid:
        check_not_recreated("movielog", 0, expected, offsets)
    else:
        with pytest.raises(TopicRecreated, match="under another name"):
            check_not_recreated("movielog", 0, expected, offsets)


def run_until_accepted(settings: Settings, count: int) -> None:
    """Run a bridge until it has forwarded this many records."""
    delivery, stop = FakeDelivery(), threading.Event()
    bridge = Bridge(settings, delivery, limits=BridgeLimits(max_wait_s=0.01))
    thread = threading.Thread(target=bridge.run, args=(stop,))
    thread.start()
    try:
        wait_until(lambda: bridge.stats.records_accepted == count, timeout_s=30)
    finally:
        stop.set()
        thread.join(30)


def produce(address: str, count: int, first_ms: int) -> None:
    """Write records one millisecond apart, beginning at ``first_ms``."""
    producer = Producer({"bootstrap.servers": address})
    for number in range(count):
        producer.produce("movielog", b"record", partition=0, timestamp=first_ms + number)
    assert producer.flush(10) == 0


def test_commit_of_a_topic_without_id_finds_a_recreated_topic(old_kafka: tuple[EmbeddedKafka, KafkaWithoutIds]) -> None:
    """A recreated topic has another record before the commit, or none; a bridge that went on would lose records."""
    broker, proxy = old_kafka
    address = proxy.address
    settings = Settings(kafka_bootstrap=address, kafka_topic="movielog", kafka_options=CONSUMER_OPTIONS)
    broker.create_topic("movielog", 1)
    produce(address, 20, 1_700_000_000_000)
    run_until_accepted(settings, 20)
    commit, time_ms = TopicPartition("movielog", 0, 20), "1700000000019"
    assert time_ms.encode() in proxy.commits[-1]
    check_committed_record(create_consumer(settings), commit, time_ms)
    broker.recreate_topic("movielog", 1)
    produce(address, 40, 1_700_000_100_000)
    with pytest.raises(TopicRecreated, match="record at offset 19 is of 1700000100019 ms"):
        check_committed_record(create_consumer(settings), commit, time_ms)


class StartedOver:
    """A consumer of a broker that does not hold the offset, and begins with its oldest record."""

    closed = False

    def assign(self, _: object) -> None:
        """Accept any position."""

    def poll(self, _: float) -> StartedOver:
        return self

    def error(self) -> None:
        """Return no error."""

    def offset(self) -> int:
        return 0

    def timestamp(self) -> tuple[int, int]:
        return 1, 1_700_000_100_000

    def close(self) -> None:
        self.closed = True


def test_check_committed_record_of_a_shorter_topic_raises() -> None:
    """Kafka answers that the offset is out of range, and the client starts over; it is closed all the same."""
    client = StartedOver()
    with pytest.raises(TopicRecreated, match="does not hold offset 19, but offset 0"):
        check_committed_record(cast(Any, client), TopicPartition("movielog", 0, 20), "1700000000019")
    assert client.closed
