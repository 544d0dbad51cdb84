"""A harness on the broker that all tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.bridge.bridge_harness import PARTITIONS, BridgeHarness
from tests.servers.receiver import Receiver

from marquee.local.embedded_kafka import EmbeddedKafka


@pytest.fixture
def harness(kafka: EmbeddedKafka) -> Iterator[BridgeHarness]:
    """Provide a harness with a new topic."""
    receiver = Receiver()
    harness = BridgeHarness(kafka, receiver)
    kafka.create_topic(harness.topic, PARTITIONS)
    yield harness
    receiver.close()
