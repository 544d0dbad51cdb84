"""Tests of brokers without topic ids: the cluster and the topic's name identify the stream."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.servers.kafka_without_ids import KafkaWithoutIds

from marquee.bridge.kafka_client import TopicIds, is_named
from marquee.bridge.recreated_topic import check_not_recreated
from marquee.config.settings import Settings
from marquee.errors import TopicRecreated
from marquee.local.embedded_kafka import EmbeddedKafka
from marquee.local.process import free_port

pytestmark = pytest.mark.servers


@pytest.fixture
def old_kafka(tmp_path: Path) -> Iterator[tuple[EmbeddedKafka, str]]:
    """Start a broker behind a proxy that hides the topic ids; return both addresses."""
    port = free_port()
    with (
        closing(KafkaWithoutIds(port)) as proxy,
        EmbeddedKafka(tmp_path, durable=False, port=port, advertised=proxy.address) as broker,
    ):
        yield broker, proxy.address


def test_topic_ids_of_old_broker_differ_by_topic(old_kafka: tuple[EmbeddedKafka, str]) -> None:
    """The zero id is not an identity: two topics would be one."""
    broker, address = old_kafka
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
