"""Connection options of Kafka clients, and the creation of a topic."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from marquee.config.settings import Settings
from marquee.errors import KafkaUnavailable

_POLL_S = 0.02


def client_options(settings: Settings) -> dict[str, Any]:
    """Return the options of librdkafka that all clients share: address, client id, and those of the settings."""
    return {
        "bootstrap.servers": settings.kafka_bootstrap,
        "client.id": "marquee",
        **dict(settings.kafka_options),
    }


def consumer_group(settings: Settings) -> str:
    """Return the consumer group of the bridge."""
    return dict(settings.kafka_options).get("group.id", "marquee-bridge")


def create_topic(options: Mapping[str, Any], topic: str, partitions: int, *, timeout_s: float) -> None:
    """Create ``topic`` unless it exists; return when the broker lists it.

    An existing topic keeps its number of partitions; a new one has one replica of each. ``options`` are those of the
    admin client, such as :func:`client_options`. ``timeout_s`` limits each request, and the wait for the broker to list
    the topic. Raises ``KafkaException`` if the broker cannot be reached or refuses, and :class:`KafkaUnavailable` if it
    does not create or list the topic in time.
    """
    from confluent_kafka import KafkaError, KafkaException
    from confluent_kafka.admin import AdminClient
    from confluent_kafka.cimpl import NewTopic

    admin = AdminClient(dict(options))
    if topic in admin.list_topics(timeout=timeout_s).topics:
        return
    try:
        created = admin.create_topics([NewTopic(topic, partitions, 1)], operation_timeout=timeout_s)
        created[topic].result(timeout_s + 1)
    except TimeoutError as error:
        raise KafkaUnavailable(
            f"Kafka at {options['bootstrap.servers']} did not create topic {topic} within {timeout_s:g} s"
        ) from error
    except KafkaException as error:
        if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
            raise
    deadline = time.monotonic() + timeout_s
    while topic not in admin.list_topics(timeout=timeout_s).topics:
        if time.monotonic() > deadline:
            raise KafkaUnavailable(f"Kafka does not list topic {topic} {timeout_s:g} s after its creation")
        time.sleep(_POLL_S)
