"""Servers that many tests share: each is started when the first test asks for it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import settings

from marquee.local.kafka import EmbeddedKafka

# A busy machine is no fault of the code's: no example has a deadline.
settings.register_profile("marquee", deadline=None)
settings.load_profile("marquee")


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedKafka]:
    """A broker in memory. Shared: make a topic and a consumer group of your own."""
    with EmbeddedKafka(tmp_path_factory.mktemp("kafka"), durable=False) as broker:
        yield broker
