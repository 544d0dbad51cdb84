"""The age of the oldest unread record, on a real broker."""

from __future__ import annotations

import time
from itertools import count

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from tests.local.test_embedded_kafka import produce

from marquee.config.settings import Settings
from marquee.errors import KafkaUnavailable
from marquee.local.embedded_kafka import EmbeddedKafka
from marquee.local.process import free_port
from marquee.local.unread_records import unread_age_s

pytestmark = pytest.mark.servers

_topics = count()


@pytest.fixture
def settings(kafka: EmbeddedKafka) -> Settings:
    topic = f"unread-{next(_topics)}"
    kafka.create_topic(topic)
    return Settings(kafka_bootstrap=kafka.bootstrap, kafka_topic=topic, kafka_options=(("group.id", topic),))


def write_old(kafka: EmbeddedKafka, topic: str, partition: int, age_s: float) -> None:
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "log_level": 0})
    producer.produce(topic, b"x", partition=partition, timestamp=int((time.time() - age_s) * 1000))
    assert producer.flush(20) == 0


def commit(kafka: EmbeddedKafka, settings: Settings, partition: int, offset: int) -> None:
    consumer = Consumer({"bootstrap.servers": kafka.bootstrap, "group.id": settings.kafka_topic, "log_level": 0})
    consumer.commit(offsets=[TopicPartition(settings.kafka_topic, partition, offset)], asynchronous=False)
    consumer.close()


def test_unread_age_empty_topic_is_zero(kafka: EmbeddedKafka, settings: Settings) -> None:
    """Silence is not lag."""
    assert unread_age_s(settings) == 0


def test_unread_age_nothing_committed_is_that_of_the_oldest_record(kafka: EmbeddedKafka, settings: Settings) -> None:
    """The lag grows although nothing is written, and is that of the partition that is furthest behind."""
    write_old(kafka, settings.kafka_topic, 0, 120)
    produce(kafka, settings.kafka_topic, [b"new"])
    write_old(kafka, settings.kafka_topic, 1, 600)
    assert 599 < unread_age_s(settings) < 620


def test_unread_age_committed_records_do_not_count(kafka: EmbeddedKafka, settings: Settings) -> None:
    """The first record after the commit counts; if there is none, the age is zero."""
    for age_s in (600, 300):
        write_old(kafka, settings.kafka_topic, 0, age_s)
    commit(kafka, settings, 0, 1)
    assert 299 < unread_age_s(settings) < 320
    commit(kafka, settings, 0, 2)
    assert unread_age_s(settings) == 0


def test_unread_age_broker_away_is_reported() -> None:
    """No answer is an error, not a lag of zero."""
    away = Settings(kafka_bootstrap=f"127.0.0.1:{free_port()}")
    with pytest.raises(KafkaUnavailable, match="does not answer"):
        unread_age_s(away)
