"""The oldest record that the bridge has not committed yet, read from Kafka itself.

A stopped bridge reports nothing, and a row that was not written has no delay. Kafka has both: the committed
offset of the group, and the timestamp of the record there.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from marquee.config.kafka_options import client_options, consumer_group
from marquee.config.settings import Settings
from marquee.errors import KafkaUnavailable

if TYPE_CHECKING:
    from confluent_kafka import Consumer, TopicPartition

_REQUEST_S = 3.0
# An empty partition takes the whole wait, because the embedded broker does not report its end offset.
_FETCH_S = 1.0


def unread_age_s(settings: Settings) -> float:
    """Return the age of the oldest unread record in seconds; 0 if there is none.

    Raises :class:`KafkaUnavailable` if the broker does not answer.
    """
    from confluent_kafka import Consumer, KafkaException

    options = client_options(settings) | {
        "group.id": consumer_group(settings),
        "enable.auto.commit": False,
        "enable.partition.eof": True,
        "auto.offset.reset": "earliest",
        "fetch.message.max.bytes": 65_536,
        "log_level": 0,
    }
    consumer = Consumer(options)
    try:
        oldest = _oldest_timestamps(consumer, settings.kafka_topic)
    except KafkaException as error:
        raise KafkaUnavailable(f"Kafka at {settings.kafka_bootstrap} does not answer: {error.args[0].str()}") from error
    finally:
        consumer.close()
    return max((max(0.0, time.time() - timestamp / 1000) for timestamp in oldest), default=0.0)


def _oldest_timestamps(consumer: Consumer, topic: str) -> list[float]:
    """Return the timestamp in ms of the first unread record of each partition that has one."""
    partitions = _committed(consumer, topic)
    consumer.assign(partitions)
    waiting = {partition.partition for partition in partitions}
    found: list[float] = []
    deadline = time.monotonic() + _FETCH_S
    while waiting and (left := deadline - time.monotonic()) > 0:
        message = consumer.poll(left)
        if message is None or message.partition() not in waiting:
            continue
        waiting.discard(message.partition() or 0)
        if message.error() is None:
            found.append(message.timestamp()[1])
    return found


def _committed(consumer: Consumer, topic: str) -> list[TopicPartition]:
    from confluent_kafka import OFFSET_BEGINNING, TopicPartition

    listed: dict[int, Any] = consumer.list_topics(topic, timeout=_REQUEST_S).topics[topic].partitions
    partitions = [TopicPartition(topic, number) for number in listed]
    committed = consumer.committed(partitions, timeout=_REQUEST_S) if partitions else []
    return [
        TopicPartition(topic, each.partition, each.offset if each.offset >= 0 else OFFSET_BEGINNING)
        for each in committed
    ]
