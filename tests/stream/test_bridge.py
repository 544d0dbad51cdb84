"""The bridge on a real broker: every line at least once, nothing committed before it was accepted."""

from __future__ import annotations

import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from tests.servers.pubsub import PubSubServer
from tests.servers.receiver import Receiver

from marquee.local.kafka import CONSUMER_OPTIONS, EmbeddedKafka
from marquee.local.process import Process, free_port
from marquee.settings import Settings
from marquee.stream.bridge import Bridge
from marquee.stream.commands import forward
from marquee.stream.delivery import connect
from marquee.stream.kafka import Topics

pytestmark = pytest.mark.servers
PARTITIONS = 2


def wait_until(condition: Callable[[], bool], timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"waited {timeout_s:g} s in vain"
        time.sleep(0.02)


@dataclass
class Stage:
    """A topic and a consumer group of their own, and a receiver."""

    kafka: EmbeddedKafka
    receiver: Receiver
    topic: str = field(default_factory=lambda: f"log-{uuid.uuid4().hex[:8]}")

    def produce(self, values: list[bytes | None]) -> None:
        producer = Producer({"bootstrap.servers": self.kafka.bootstrap, "log_level": 0, "linger.ms": 5})
        for number, value in enumerate(values):
            producer.produce(self.topic, value, partition=number % PARTITIONS)
            producer.poll(0)
        assert producer.flush(30) == 0

    def environment(self, **more: str) -> dict[str, str]:
        options = ",".join(f"{name}={value}" for name, value in CONSUMER_OPTIONS.items())
        own = {
            "KAFKA_BOOTSTRAP": self.kafka.bootstrap,
            "KAFKA_TOPIC": self.topic,
            "KAFKA_GROUP": self.topic,
            "KAFKA_OPTIONS": options,
            "DELIVERY_URL": self.receiver.url,
            "BATCH_MS": "50",
            "BATCH_LINES": "100",
        }
        return {f"MARQUEE_{name}": value for name, value in (own | more).items()}

    @contextmanager
    def bridge(self, **more: str) -> Iterator[None]:
        """A bridge in a thread, stopped politely at the end."""
        stop = threading.Event()
        errors: list[BaseException] = []

        def run() -> None:
            try:
                forward(Settings.from_mapping(self.environment(**more)), stop)
            except BaseException as error:
                errors.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(60)
            assert not thread.is_alive()
            assert errors == []

    def process(self, directory: Path, name: str = "bridge", **more: str) -> Process:
        """A bridge as the job that is deployed."""
        main = Path(__file__).parents[2] / "jobs" / "bridge" / "main.py"
        return Process(name, [sys.executable, str(main)], directory / f"{name}.log", self.environment(**more))

    def committed(self) -> list[int]:
        """What the group has committed, by partition; 0 for nothing."""
        consumer = Consumer(
            {"bootstrap.servers": self.kafka.bootstrap, "group.id": self.topic, "log_level": 0}
        )
        asked = [TopicPartition(self.topic, partition) for partition in range(PARTITIONS)]
        found = [max(0, partition.offset) for partition in consumer.committed(asked, timeout=20)]
        consumer.close()
        return found

    def offsets(self) -> dict[int, Counter[int]]:
        """How often each offset was accepted, by partition."""
        found: dict[int, Counter[int]] = {partition: Counter() for partition in range(PARTITIONS)}
        for (_, _, partition), records in self.receiver.records().items():
            found[partition].update(record.offset for record in records)
        return found

    def all_arrived(self, count: int) -> bool:
        return sum(len(offsets) for offsets in self.offsets().values()) == count

    def await_commit(self, *offsets: int) -> None:
        """Where lines come a second time, their arrival is no sign that all were read."""
        wait_until(lambda: self.committed() == list(offsets))

    def await_arrival(self, count: int) -> None:
        self.receiver.wait_for(lambda: self.all_arrived(count))


@pytest.fixture
def stage(kafka: EmbeddedKafka) -> Iterator[Stage]:
    receiver = Receiver()
    stage = Stage(kafka, receiver)
    kafka.create_topic(stage.topic, PARTITIONS)
    yield stage
    receiver.close()


def _lines(count: int) -> list[bytes | None]:
    return [b"2022-11-14T12:24,%d,GET /create_account" % number for number in range(count)]


def test_every_line_arrives_once_in_order_and_is_committed(stage: Stage) -> None:
    """With nothing going wrong: each offset once, batches bounded, all of it committed at the end."""
    stage.produce(_lines(1000))
    with stage.bridge():
        stage.await_arrival(1000)
    assert all(offsets == Counter(range(500)) for offsets in stage.offsets().values())
    assert stage.committed() == [500, 500]
    records = {partition: found for (_, _, partition), found in stage.receiver.records().items()}
    assert all(len(envelope.data) < 20_000 for envelope in stage.receiver.accepted)
    lines = _lines(1000)
    assert sorted(records[0], key=lambda r: r.offset)[7].raw == lines[14]
    assert abs(records[0][0].timestamp_ms / 1000 - time.time()) < 600


def test_stream_is_the_topics_id(stage: Stage) -> None:
    """Not its name: a topic that is made anew has other lines under the same offsets."""
    stage.produce(_lines(1))
    with stage.bridge():
        stage.await_arrival(1)
    topic_id = Topics(Settings.from_mapping(stage.environment())).id(stage.topic)
    assert list(stage.receiver.records()) == [(stage.topic, topic_id, 0)]
    assert topic_id
    assert set("+/=").isdisjoint(topic_id)


def test_bytes_of_every_kind_arrive(stage: Stage) -> None:
    """Not UTF-8, empty, none at all, NUL, and a line of half a megabyte in a batch of 1000 bytes."""
    values = [b"\xff\xfe\x00", b"", None, b"a\0b", b"x" * 500_000, "größe".encode()]
    stage.produce(values)
    with stage.bridge(BATCH_BYTES="1000"):
        stage.await_arrival(6)
    arrived = [record.raw for records in stage.receiver.records().values() for record in records]
    assert sorted(arrived) == sorted(value or b"" for value in values)
    coded = [r for records in stage.receiver.records().values() for r in records if r.base64 is not None]
    assert [record.raw for record in coded] == [b"\xff\xfe\x00"]


def test_nothing_is_committed_while_the_receiver_refuses(stage: Stage) -> None:
    """And all of it once the receiver accepts again: no line was skipped."""
    stage.receiver.always = 503
    stage.produce(_lines(400))
    with stage.bridge(DRAIN_S="0.2"):
        stage.receiver.wait_for(lambda: len(stage.receiver.refused) >= 10)
    assert stage.committed() == [0, 0]
    with stage.bridge():
        stage.receiver.wait_for(lambda: len(stage.receiver.refused) >= 20)
        assert stage.committed() == [0, 0]
        stage.receiver.always = None
        stage.await_commit(200, 200)
    assert stage.all_arrived(400)


def test_lost_answer_is_delivered_again(stage: Stage) -> None:
    """The receiver took it and nobody knows: twice is what it is built for."""
    stage.receiver.lose_answers = 1
    stage.produce(_lines(100))
    with stage.bridge():
        stage.await_arrival(100)
        stage.receiver.wait_for(lambda: len(stage.receiver.texts()) > 100)
    assert stage.committed() == [50, 50]


def test_one_refused_batch_holds_the_commit_of_its_partition(stage: Stage) -> None:
    """Later batches go ahead; the commit waits for the first."""
    stage.produce(_lines(1000))
    stage.receiver.answers.extend([400])  # Terminal: kept, and tried again only after half a minute.
    with stage.bridge(DRAIN_S="0.2", BATCHES_IN_FLIGHT="100", DELIVERY_CONCURRENCY="1"):
        stage.await_arrival(900)
    assert sorted(stage.committed()) == [0, 500]
    with stage.bridge():
        stage.await_commit(500, 500)
    assert stage.all_arrived(1000)


def test_receiver_that_does_not_answer_holds_back_the_bridge(stage: Stage) -> None:
    """It reads no further than its window: 20,000 lines wait in Kafka, not in memory."""
    stage.receiver.hold.clear()
    stage.produce(_lines(20_000))
    with stage.bridge(BATCHES_IN_FLIGHT="3", DELIVERY_CONCURRENCY="64"):
        stage.receiver.wait_for(lambda: len(stage.receiver.accepted) >= 2 * 3)
        time.sleep(0.5)
        # One read of 100 lines may come on top of a window that was not quite full.
        assert stage.receiver.most_under_way <= PARTITIONS * (3 + 1)
        assert stage.committed() == [0, 0]
        stage.receiver.hold.set()
        stage.await_arrival(20_000)
    assert all(offsets == Counter(range(10_000)) for offsets in stage.offsets().values())
    assert stage.committed() == [10_000, 10_000]


def test_killed_bridge_loses_nothing(stage: Stage, tmp_path: Path) -> None:
    """SIGKILL in the middle, as a process: after a new start every offset was accepted at least once,
    and what was committed when it died had been accepted."""
    stage.produce(_lines(6000))
    stage.receiver.hold_after = 10
    process = stage.process(tmp_path)
    process.start()
    wait_until(lambda: sum(stage.committed()) > 0)
    process.kill()
    process.wait(30)
    stage.receiver.hold.set()
    committed, accepted = stage.committed(), stage.offsets()
    assert 0 < sum(committed) <= 1000
    for partition, offset in enumerate(committed):
        assert set(range(offset)) <= set(accepted[partition])
    again = stage.process(tmp_path, "again")
    again.start()
    stage.await_commit(3000, 3000)
    again.stop(30)
    assert again.returncode == 0
    assert stage.all_arrived(6000)


def test_sigterm_finishes_what_is_under_way(stage: Stage, tmp_path: Path) -> None:
    """Exit code 0, and the commit says exactly what was accepted: the next bridge repeats nothing."""
    stage.receiver.delay_s = 0.02
    stage.produce(_lines(6000))
    process = stage.process(tmp_path)
    process.start()
    stage.receiver.wait_for(lambda: len(stage.receiver.accepted) >= 10)
    process.stop(30)
    assert process.returncode == 0
    accepted = stage.offsets()
    assert all(set(accepted[p]) == set(range(offset)) for p, offset in enumerate(stage.committed()))
    stage.receiver.delay_s = 0.0
    with stage.bridge():
        stage.await_arrival(6000)
    assert all(offsets == Counter(range(3000)) for offsets in stage.offsets().values())


def test_two_bridges_share_the_partitions(stage: Stage) -> None:
    """A second one joins while the first is busy, and leaves again: both rebalances lose nothing."""
    stage.receiver.delay_s = 0.01
    stage.produce(_lines(4000))
    with stage.bridge():
        stage.receiver.wait_for(lambda: len(stage.receiver.accepted) >= 4)
        with stage.bridge():
            time.sleep(3)  # Long enough to be let in.
            stage.produce(_lines(2000))
            stage.await_arrival(6000)
        stage.produce(_lines(2000))
        stage.await_commit(4000, 4000)
    assert stage.all_arrived(8000)


def test_paused_partition_that_comes_back_is_read(stage: Stage) -> None:
    """The receiver hangs, so the partitions are paused; they go to another bridge and come back: the pause
    was the former owner's, and does not outlive its ownership."""
    stage.receiver.always = 503
    stage.produce(_lines(20_000))
    with stage.bridge(BATCHES_IN_FLIGHT="2", DRAIN_S="0.1"):
        stage.receiver.wait_for(lambda: len(stage.receiver.refused) >= 20)
        time.sleep(1)  # Longer than a full partition goes without being paused.
        with stage.bridge(BATCHES_IN_FLIGHT="2", DRAIN_S="0.1"):
            time.sleep(3)  # Long enough to be let in, and to pause what it was given.
        stage.receiver.always = None
        stage.await_commit(10_000, 10_000)
    assert stage.all_arrived(20_000)


def test_bridge_may_start_before_everything_else(stage: Stage, tmp_path: Path) -> None:
    """No broker, then no topic, then no receiver: it waits for each."""
    port = free_port()
    stage.receiver.close()
    with EmbeddedKafka(tmp_path, durable=False, port=port) as kafka:
        late = Stage(kafka, stage.receiver)
        kafka.stop()
        with late.bridge():
            time.sleep(0.3)
            kafka.start()
            time.sleep(0.3)
            kafka.create_topic(late.topic, PARTITIONS)
            late.produce(_lines(100))
            time.sleep(0.3)
            late.receiver = Receiver(stage.receiver.port)
            late.await_arrival(100)
        late.receiver.close()


def test_broker_that_is_killed_comes_back(stage: Stage, tmp_path: Path) -> None:
    """SIGKILL of a durable broker and its storage in the middle: the bridge goes on by itself."""
    with EmbeddedKafka(tmp_path, durable=True) as kafka:
        durable = Stage(kafka, stage.receiver)
        kafka.create_topic(durable.topic, PARTITIONS)
        durable.produce(_lines(2000))
        with durable.bridge():
            stage.receiver.wait_for(lambda: len(stage.receiver.accepted) >= 2)
            kafka.kill()
            kafka.start()
            durable.produce(_lines(1000))
            durable.await_commit(1500, 1500)
        assert durable.all_arrived(3000)


def test_topic_that_was_replaced_is_read_from_its_beginning(stage: Stage, tmp_path: Path) -> None:
    """Under its new id: the same offsets, and other lines."""
    with EmbeddedKafka(tmp_path, durable=False) as kafka:
        forgetful = Stage(kafka, stage.receiver)
        kafka.create_topic(forgetful.topic, PARTITIONS)
        forgetful.produce(_lines(100))
        with forgetful.bridge():
            forgetful.await_arrival(100)
            kafka.kill()
            kafka.start()
            kafka.create_topic(forgetful.topic, PARTITIONS)
            forgetful.produce(_lines(60))
            stage.receiver.wait_for(lambda: lines_by_stream(stage) == [100, 60])


def lines_by_stream(stage: Stage) -> list[int]:
    """How many different lines each incarnation has brought, in order of appearance."""
    found: dict[str, set[tuple[int, int]]] = {}
    for (_, stream, partition), records in stage.receiver.records().items():
        found.setdefault(stream, set()).update((partition, record.offset) for record in records)
    return [len(lines) for lines in found.values()]


class FakeTopics(Topics):
    """A broker that tells another id of the same topic when it is told to."""

    def __init__(self) -> None:
        self.now = "first"

    def id(self, topic: str, *, timeout_s: float = 3.0) -> str | None:
        return self.now


def test_topic_that_is_replaced_unnoticed_by_the_group(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """No partition was lost and no error came: the regular look at the topic's id finds it."""
    monkeypatch.setattr("marquee.stream.bridge.LOOK_AT_TOPIC_EVERY_S", 0.1)
    stage.produce(_lines(100))
    settings, topics, stop = Settings.from_mapping(stage.environment()), FakeTopics(), threading.Event()
    delivery = connect(stage.receiver.url, timeout_s=30)
    bridge = threading.Thread(target=Bridge(settings, delivery, topics).run, args=[stop])
    bridge.start()
    stage.await_commit(50, 50)
    topics.now = "second"
    stage.receiver.wait_for(lambda: lines_by_stream(stage) == [100, 100])
    stop.set()
    bridge.join()
    delivery.close()
    assert {stream for _, stream, _ in stage.receiver.records()} == {"first", "second"}
    assert stage.committed() == [50, 50]


def test_whole_way_through_pubsub(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kafka, bridge, topic, push to the function: faults on either side, and every line arrives."""
    server = PubSubServer()
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", server.host)
    server.create_topic("project", "lines")
    pushed = server.create_push("project", "ingest", "lines", stage.receiver.url)
    server.faults.refuse.extend([grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED])
    server.faults.lose_answers = 1
    stage.receiver.answers.extend([503, 500])
    stage.produce(_lines(2000))
    with stage.bridge(DELIVERY_URL="pubsub://project/lines"):
        stage.await_commit(1000, 1000)
        stage.await_arrival(2000)
    wait_until(lambda: server.backlog(pushed) == 0)
    server.close()


def test_health_file_is_touched_while_the_bridge_works(stage: Stage, tmp_path: Path) -> None:
    """A health check may go by its time."""
    file = tmp_path / "healthy"
    stage.produce(_lines(4))
    with stage.bridge(HEALTH_FILE=str(file)):
        wait_until(file.exists)
