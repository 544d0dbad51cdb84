"""Kafka clients: configuration, the bridge's consumer, and topic ids."""

from __future__ import annotations

import hashlib
import logging
from typing import TYPE_CHECKING, Any

import msgspec

from marquee.config.kafka_options import client_options, consumer_group
from marquee.config.settings import Settings
from marquee.errors import SettingsError
from marquee.events.batches import NAMED_TOPIC

if TYPE_CHECKING:
    from confluent_kafka import Consumer, Message, TopicPartition
    from confluent_kafka.admin import AdminClient

log = logging.getLogger(__name__)


def create_consumer(settings: Settings, **callbacks: Any) -> Consumer:
    """Create a consumer in the bridge's group without automatic commits.

    It starts from the group's commit, or else from the beginning: records that are older than the bridge
    are forwarded too, and the latest offset of an embedded broker is not reliable. Raises ``SettingsError`` if a
    setting is not valid.
    """
    from confluent_kafka import Consumer, KafkaException

    config = client_options(settings) | {
        "logger": log,
        "group.id": consumer_group(settings),
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "earliest",
        "statistics.interval.ms": 1_000,
        # Prefetched records count toward the bridge's memory.
        "queued.max.messages.kbytes": 16_384,
        **callbacks,
        **dict(settings.kafka_options),
    }
    try:
        return Consumer(config)
    except (KafkaException, ValueError) as error:
        raise SettingsError(f"Kafka's client rejects the settings: {error}") from error


class _Partition(msgspec.Struct):
    hi_offset: int


class _Topic(msgspec.Struct):
    partitions: dict[str, _Partition]


class _Statistics(msgspec.Struct):
    topics: dict[str, _Topic]


_decode_statistics = msgspec.json.Decoder(_Statistics).decode


def end_offsets(statistics: str, topic: str) -> dict[int, int]:
    """Return the end offsets of the partitions that were fetched, from librdkafka's statistics.

    See https://github.com/confluentinc/librdkafka/blob/master/STATISTICS.md.
    """
    partitions = _decode_statistics(statistics).topics.get(topic, _Topic({})).partitions
    return {int(number): state.hi_offset for number, state in partitions.items() if state.hi_offset >= 0}


def strictly_increasing(messages: list[Message], min_offset: int) -> list[Message]:
    """Return the messages whose offsets increase from ``min_offset`` on; drop the others."""
    increasing = []
    for message in messages:
        if (offset := message.offset() or 0) >= min_offset:
            increasing.append(message)
            min_offset = offset + 1
    return increasing


def position(topic: str, partition: int, offset: int | None = None, metadata: str = "") -> TopicPartition:
    """Return a position of a partition; None is no offset."""
    from confluent_kafka import OFFSET_INVALID, TopicPartition

    known = OFFSET_INVALID if offset is None else offset
    return TopicPartition(topic, partition, known, metadata) if metadata else TopicPartition(topic, partition, known)


class _LastMessage:
    """A logger that keeps the last message only: without a connection, librdkafka logs ten a second."""

    def __init__(self) -> None:
        self._text = ""

    def log(self, _level: int, message: str, *values: object) -> None:
        """Keep the message; the signature is that of ``logging.Logger.log``."""
        self._text = message % values

    def take(self) -> str:
        """Return the last message since the last call, or an empty text."""
        text, self._text = self._text, ""
        return text


# The zero UUID: the broker does not know the id, as Kafka before 2.8.
_UNKNOWN_ID = "AAAAAAAAAAAAAAAAAAAAAA"
_MAX_ID_LENGTH = 250


def _named_id(cluster_id: str | None, topic: str) -> str:
    if not cluster_id:
        raise SettingsError(
            f"the broker reports neither an id of the topic {topic} nor a cluster id, so its records have no identity: "
            "use a broker with topic ids (Kafka 2.8 or newer)"
        )
    topic_id = f"{NAMED_TOPIC}{cluster_id}/{topic}"
    if len(topic_id) > _MAX_ID_LENGTH:
        topic_id = NAMED_TOPIC + hashlib.sha256(topic_id.encode()).hexdigest()
    return topic_id


class TopicIds:
    """Queries of topic ids; connects on first use."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._admin: AdminClient | None = None
        self._messages = _LastMessage()

    def id(self, topic: str, *, timeout_s: float = 3.0) -> str | None:
        """Return the id of the current incarnation of ``topic``, in Kafka's URL-safe base64.

        If the broker has no topic ids, the id is made of the cluster's id and the topic's name;
        :func:`marquee.events.batches.is_named` recognizes it. Returns None, and logs the reason, while Kafka is
        unavailable or has no such topic.
        Raises ``SettingsError``, also if there is neither a topic id nor a cluster id.
        """
        from confluent_kafka import KafkaException, TopicCollection

        try:
            described = self._client().describe_topics(TopicCollection([topic]), request_timeout=timeout_s)
            description = described[topic].result(timeout_s + 1)
            # The library uses + and / where Kafka uses - and _.
            topic_id = str(description.topic_id).translate(str.maketrans("+/", "-_"))
            if topic_id not in ("", "None", _UNKNOWN_ID):
                return topic_id
            cluster_id = self._client().list_topics(timeout=timeout_s).cluster_id
        except (KafkaException, TimeoutError) as error:
            self._client().poll(0)  # A query only times out; poll delivers the client's own message.
            log.warning("topic %s: %s %s", topic, error, self._messages.take())
            return None
        return _named_id(cluster_id, topic)

    def _client(self) -> AdminClient:
        from confluent_kafka import KafkaException
        from confluent_kafka.admin import AdminClient

        if self._admin is None:
            try:
                self._admin = AdminClient(client_options(self._settings) | {"logger": self._messages})
            except (KafkaException, ValueError) as error:
                raise SettingsError(f"Kafka's client rejects the settings: {error}") from error
        return self._admin
