"""Harness of the bridge tests: a topic, a consumer group and a receiver."""

from __future__ import annotations

import threading
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from confluent_kafka import Consumer, Producer, TopicPartition
from tests.servers.receiver import Receiver
from tests.support.bridge_program import bridge_process
from tests.support.waiting import wait_until

from marquee.bridge.bridge_limits import BridgeLimits
from marquee.cli.run_bridge import forward
from marquee.config.settings import Settings
from marquee.local.embedded_kafka import CONSUMER_OPTIONS, EmbeddedKafka
from marquee.local.process import Process

PARTITIONS = 2
LIMITS = BridgeLimits(max_records=100, max_wait_s=0.05)
"""Small batches, so that a few hundred records are many of them."""


@dataclass
class BridgeHarness:
    """A topic and a consumer group of their own, and a receiver."""

    kafka: EmbeddedKafka
    receiver: Receiver
    topic: str = field(default_factory=lambda: f"log-{uuid.uuid4().hex[:8]}")

    def produce(self, values: list[bytes | None]) -> None:
        """Write the values, alternating between the partitions."""
        producer = Producer({"bootstrap.servers": self.kafka.bootstrap, "log_level": 0, "linger.ms": 5})
        for number, value in enumerate(values):
            producer.produce(self.topic, value, partition=number % PARTITIONS)
            producer.poll(0)
        assert producer.flush(30) == 0

    def environment(self, **more: str) -> dict[str, str]:
        """Return the settings of a bridge, with changes by name."""
        options = ",".join(f"{name}={value}" for name, value in (*CONSUMER_OPTIONS, ("group.id", self.topic)))
        own = {
            "KAFKA_BOOTSTRAP": self.kafka.bootstrap,
            "KAFKA_TOPIC": self.topic,
            "KAFKA_OPTIONS": options,
            "DELIVERY_URL": self.receiver.url,
        }
        return {f"MARQUEE_{name}": value for name, value in (own | more).items()}

    @contextmanager
    def bridge(self, limits: BridgeLimits = LIMITS, health_file: Path | None = None, **more: str) -> Iterator[None]:
        """Run a bridge in a thread, and stop it at the end."""
        stop = threading.Event()
        errors: list[BaseException] = []

        def run() -> None:
            try:
                forward(Settings.from_mapping(self.environment(**more)), stop, limits, health_file)
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

    def process(self, directory: Path, name: str = "bridge", health_file: str = "", **more: str) -> Process:
        """Return a bridge as a process of its own."""
        return bridge_process(name, directory / f"{name}.log", self.environment(**more), LIMITS, health_file)

    def committed(self) -> list[int]:
        """Return the committed offset of each partition; 0 if there is none."""
        consumer = Consumer({"bootstrap.servers": self.kafka.bootstrap, "group.id": self.topic, "log_level": 0})
        partitions = [TopicPartition(self.topic, partition) for partition in range(PARTITIONS)]
        offsets = [max(0, position.offset) for position in consumer.committed(partitions, timeout=20)]
        consumer.close()
        return offsets

    def offsets(self) -> dict[int, Counter[int]]:
        """Return how often each offset was accepted, by partition."""
        counts: dict[int, Counter[int]] = {partition: Counter() for partition in range(PARTITIONS)}
        for (_, _, partition), records in self.receiver.records().items():
            counts[partition].update(record.offset for record in records)
        return counts

    def all_arrived(self, count: int) -> bool:
        """Return whether this number of different records was accepted."""
        return sum(len(offsets) for offsets in self.offsets().values()) == count

    def await_commit(self, *offsets: int) -> None:
        """Wait for these commits; after redeliveries, arrival does not prove that all was read."""
        wait_until(lambda: self.committed() == list(offsets))

    def await_arrival(self, count: int) -> None:
        """Wait until this number of different records was accepted."""
        self.receiver.wait_for(lambda: self.all_arrived(count))


@contextmanager
def separate_harness(directory: Path, receiver: Receiver, *, durable: bool) -> Iterator[BridgeHarness]:
    """Provide a harness with a broker that the test may kill."""
    with EmbeddedKafka(directory, durable=durable) as kafka:
        harness = BridgeHarness(kafka, receiver)
        kafka.create_topic(harness.topic, PARTITIONS)
        yield harness


def numbered_records(count: int) -> list[bytes | None]:
    """Return account records of consecutive users."""
    return [b"2022-11-14T12:24,%d,GET /create_account" % number for number in range(count)]
