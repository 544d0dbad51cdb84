"""A stage for bridges, on the broker that all tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.bridge.stage import PARTITIONS, Stage
from tests.servers.receiver import Receiver

from marquee.local.embedded_kafka import EmbeddedKafka


@pytest.fixture
def stage(kafka: EmbeddedKafka) -> Iterator[Stage]:
    receiver = Receiver()
    stage = Stage(kafka, receiver)
    kafka.create_topic(stage.topic, PARTITIONS)
    yield stage
    receiver.close()
