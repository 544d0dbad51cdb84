"""Tests of topic ids: a topic that was created again is another topic."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from tests.bridge.bridge_harness import LIMITS, PARTITIONS, BridgeHarness, numbered_records, separate_harness

from marquee.bridge.consumer import Bridge
from marquee.bridge.delivery.delivery_factory import connect_delivery
from marquee.bridge.kafka_client import TopicIds
from marquee.config.settings import Settings

pytestmark = pytest.mark.servers


def test_bridge_batches_carry_topic_id(harness: BridgeHarness) -> None:
    """The name does not identify a topic: a recreated topic has other records at the same offsets."""
    harness.produce(numbered_records(1))
    with harness.bridge():
        harness.await_arrival(1)
    topic_id = TopicIds(Settings.from_mapping(harness.environment())).id(harness.topic)
    assert list(harness.receiver.records()) == [(harness.topic, topic_id, 0)]
    assert topic_id
    assert set("+/=").isdisjoint(topic_id)


def test_bridge_recreated_topic_is_read_from_beginning(harness: BridgeHarness, tmp_path: Path) -> None:
    """Under its new id: the same offsets, other records."""
    with separate_harness(tmp_path, harness.receiver, durable=False) as restarted:
        restarted.produce(numbered_records(100))
        with restarted.bridge():
            restarted.await_arrival(100)
            restarted.kafka.kill()
            restarted.kafka.start()
            restarted.kafka.create_topic(restarted.topic, PARTITIONS)
            restarted.produce(numbered_records(60))
            harness.receiver.wait_for(lambda: records_by_topic_id(harness) == [100, 60])


def records_by_topic_id(harness: BridgeHarness) -> list[int]:
    """Return the number of different records of each incarnation, in order of appearance."""
    positions: dict[str, set[tuple[int, int]]] = {}
    for (_, topic_id, partition), records in harness.receiver.records().items():
        positions.setdefault(topic_id, set()).update((partition, record.offset) for record in records)
    return [len(offsets) for offsets in positions.values()]


class FakeTopicIds(TopicIds):
    """A broker whose topic id the test sets."""

    def __init__(self) -> None:
        self.current = "first"

    def id(self, topic: str, *, timeout_s: float = 3.0) -> str | None:
        return self.current


def test_bridge_detects_new_topic_id_without_rebalance(harness: BridgeHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a lost partition or an error, the periodic check detects the new id."""
    monkeypatch.setattr("marquee.bridge.consumer.TOPIC_CHECK_INTERVAL_S", 0.1)
    harness.produce(numbered_records(100))
    settings, topics, stop = Settings.from_mapping(harness.environment()), FakeTopicIds(), threading.Event()
    delivery = connect_delivery(harness.receiver.url, timeout_s=30)
    bridge = threading.Thread(target=Bridge(settings, delivery, topics, LIMITS).run, args=[stop])
    bridge.start()
    harness.await_commit(50, 50)
    topics.current = "second"
    harness.receiver.wait_for(lambda: records_by_topic_id(harness) == [100, 100])
    stop.set()
    bridge.join()
    delivery.close()
    assert {topic_id for _, topic_id, _ in harness.receiver.records()} == {"first", "second"}
    assert harness.committed() == [50, 50]
