"""A topic is known by its id: one that was made anew is another stream."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from tests.bridge.stage import LIMITS, PARTITIONS, Stage, numbered_lines, stage_of_its_own

from marquee.bridge.consumer import Bridge
from marquee.bridge.delivery.delivery_factory import connect_delivery
from marquee.bridge.kafka_client import TopicIds
from marquee.config.settings import Settings

pytestmark = pytest.mark.servers


def test_stream_is_the_topics_id(stage: Stage) -> None:
    """Not its name: a topic that is made anew has other lines under the same offsets."""
    stage.produce(numbered_lines(1))
    with stage.bridge():
        stage.await_arrival(1)
    topic_id = TopicIds(Settings.from_mapping(stage.environment())).id(stage.topic)
    assert list(stage.receiver.records()) == [(stage.topic, topic_id, 0)]
    assert topic_id
    assert set("+/=").isdisjoint(topic_id)


def test_topic_that_was_replaced_is_read_from_its_beginning(stage: Stage, tmp_path: Path) -> None:
    """Under its new id: the same offsets, and other lines."""
    with stage_of_its_own(tmp_path, stage.receiver, durable=False) as forgetful:
        forgetful.produce(numbered_lines(100))
        with forgetful.bridge():
            forgetful.await_arrival(100)
            forgetful.kafka.kill()
            forgetful.kafka.start()
            forgetful.kafka.create_topic(forgetful.topic, PARTITIONS)
            forgetful.produce(numbered_lines(60))
            stage.receiver.wait_for(lambda: lines_by_stream(stage) == [100, 60])


def lines_by_stream(stage: Stage) -> list[int]:
    """How many different lines each incarnation has brought, in order of appearance."""
    found: dict[str, set[tuple[int, int]]] = {}
    for (_, topic_id, partition), records in stage.receiver.records().items():
        found.setdefault(topic_id, set()).update((partition, record.offset) for record in records)
    return [len(lines) for lines in found.values()]


class FakeTopics(TopicIds):
    """A broker that tells another id of the same topic when it is told to."""

    def __init__(self) -> None:
        self.now = "first"

    def id(self, topic: str, *, timeout_s: float = 3.0) -> str | None:
        return self.now


def test_topic_that_is_replaced_unnoticed_by_the_group(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """No partition was lost and no error came: the regular look at the topic's id finds it."""
    monkeypatch.setattr("marquee.bridge.consumer.TOPIC_CHECK_INTERVAL_S", 0.1)
    stage.produce(numbered_lines(100))
    settings, topics, stop = Settings.from_mapping(stage.environment()), FakeTopics(), threading.Event()
    delivery = connect_delivery(stage.receiver.url, timeout_s=30)
    bridge = threading.Thread(target=Bridge(settings, delivery, topics, LIMITS).run, args=[stop])
    bridge.start()
    stage.await_commit(50, 50)
    topics.now = "second"
    stage.receiver.wait_for(lambda: lines_by_stream(stage) == [100, 100])
    stop.set()
    bridge.join()
    delivery.close()
    assert {topic_id for _, topic_id, _ in stage.receiver.records()} == {"first", "second"}
    assert stage.committed() == [50, 50]
