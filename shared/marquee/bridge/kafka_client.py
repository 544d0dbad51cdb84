"""What every client of Kafka needs to know: how to connect, and which incarnation of a topic this is."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import msgspec

from marquee.config.kafka_options import client_options
from marquee.config.settings import Settings
from marquee.errors import SettingsError

if TYPE_CHECKING:
    from confluent_kafka import Consumer, Message
    from confluent_kafka.admin import AdminClient

log = logging.getLogger(__name__)


def consumer(settings: Settings, **callbacks: Any) -> Consumer:
    """A consumer in the bridge's group that commits nothing by itself; raises ``SettingsError``.

    It reads from what the group committed, or else from the beginning: an embedded broker's latest
    offset cannot be trusted, and a line that was there before the bridge is a line all the same.
    """
    from confluent_kafka import Consumer, KafkaException

    config = client_options(settings) | {
        "logger": log,
        "group.id": settings.kafka_group,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "earliest",
        "statistics.interval.ms": 1_000,
        # What is fetched ahead counts towards the bridge's memory.
        "queued.max.messages.kbytes": 16_384,
        **callbacks,
        **dict(settings.kafka_options),
    }
    try:
        return Consumer(config)
    except (KafkaException, ValueError) as error:
        raise SettingsError(f"Kafka's client does not accept the settings: {error}") from error


class _Partition(msgspec.Struct):
    hi_offset: int


class _Topic(msgspec.Struct):
    partitions: dict[str, _Partition]


class _Statistics(msgspec.Struct):
    topics: dict[str, _Topic]


_decode_statistics = msgspec.json.Decoder(_Statistics).decode


def end_offsets(statistics: str, topic: str) -> dict[int, int]:
    """Where the partitions of ``topic`` end, of those that were fetched from, by librdkafka's statistics.

    See https://github.com/confluentinc/librdkafka/blob/master/STATISTICS.md.
    """
    found = _decode_statistics(statistics).topics.get(topic, _Topic({}))
    return {int(number): one.hi_offset for number, one in found.partitions.items() if one.hi_offset >= 0}


def strictly_increasing(messages: list[Message], least: int) -> list[Message]:
    """Those whose offsets go on from ``least`` and rise."""
    kept = []
    for message in messages:
        if (offset := message.offset() or 0) >= least:
            kept.append(message)
            least = offset + 1
    return kept


class _LastWords:
    """In the place of a logger: keeps the last message. While it cannot connect, librdkafka logs ten a second."""

    def __init__(self) -> None:
        self._text = ""

    def log(self, level: int, message: str, *values: object) -> None:
        """As a logger's."""
        self._text = message % values

    def take(self) -> str:
        """The last message since the last call, or nothing."""
        text, self._text = self._text, ""
        return text


class TopicIds:
    """Asks the broker about topics. Connects on the first question."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._admin: AdminClient | None = None
        self._said = _LastWords()

    def id(self, topic: str, *, timeout_s: float = 3.0) -> str | None:
        """The id of this incarnation of ``topic``, in Kafka's own URL-safe base 64; None, and a line
        in the log that says why, while Kafka is away or knows no such topic. Raises ``SettingsError``.
        """
        from confluent_kafka import KafkaException, TopicCollection

        try:
            described = self._client().describe_topics(TopicCollection([topic]), request_timeout=timeout_s)
            found = described[topic].result(timeout_s + 1)
        except (KafkaException, TimeoutError) as error:
            self._client().poll(0)  # A question just times out; what the client has to say of it is told now.
            log.warning("topic %s: %s %s", topic, error, self._said.take())
            return None
        # The library writes + and / where Kafka writes - and _.
        return str(found.topic_id).translate(str.maketrans("+/", "-_"))

    def _client(self) -> AdminClient:
        from confluent_kafka import KafkaException
        from confluent_kafka.admin import AdminClient

        if self._admin is None:
            try:
                self._admin = AdminClient(client_options(self._settings) | {"logger": self._said})
            except (KafkaException, ValueError) as error:
                raise SettingsError(f"Kafka's client does not accept the settings: {error}") from error
        return self._admin
