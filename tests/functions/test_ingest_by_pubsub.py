"""Tests of the path over Pub/Sub, on the wire: Kafka, bridge, topic, push into the real function, tables."""

from __future__ import annotations

import threading
import uuid
from contextlib import closing
from functools import partial
from pathlib import Path

import grpc
import pytest
from confluent_kafka import Message, Producer
from google.pubsub_v1 import types
from tests.chaos.known_records import ProducedRecords
from tests.chaos.verification import verify
from tests.functions.ingest import IngestProcess
from tests.servers.pubsub import PubSubServer
from tests.support.waiting import wait_until

from marquee.bridge.bridge_limits import BridgeLimits
from marquee.cli.run_bridge import forward
from marquee.config.settings import Settings
from marquee.db.migrate import migrate
from marquee.db.pool import Database
from marquee.local.embedded_kafka import CONSUMER_OPTIONS, EmbeddedKafka
from marquee.local.embedded_postgres import EmbeddedPostgres

pytestmark = [pytest.mark.servers, pytest.mark.long]
LINES, PARTITIONS = 450, 2


def record_delivery(produced: ProducedRecords, number: int, error: object, message: Message) -> None:
    partition, offset = message.partition(), message.offset()
    assert partition is not None
    assert offset is not None
    produced.acknowledge(number, partition, offset)


def produce_records(kafka: EmbeddedKafka, topic: str, produced: ProducedRecords) -> None:
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "log_level": 0})
    for _ in range(LINES):
        record = produced.next()
        producer.produce(
            topic,
            record.raw,
            partition=record.number % PARTITIONS,
            on_delivery=partial(record_delivery, produced, record.number),
        )
    assert producer.flush(30) == 0


def test_pubsub_path_stores_each_record_once_through_faults(
    kafka: EmbeddedKafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Publishes are refused or lose their response, batches are small, pushed in any order and twice.

    The database is away for so long that messages go to the dead-letter topic. Once it is back, its messages
    are pushed into the same function and complete the tables.
    """
    server, topic, produced = PubSubServer(), f"log-{uuid.uuid4().hex[:8]}", ProducedRecords(seed=5)
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", server.host)
    kafka.create_topic(topic, PARTITIONS)
    with EmbeddedPostgres(tmp_path / "postgres") as postgres:
        migrate(postgres.url)
        function = IngestProcess(tmp_path / "ingest.log", postgres.url)
        function.start()
        endpoint = f"http://127.0.0.1:{function.port}/"
        server.create_topic("project", "lines")
        dead = server.create_topic("project", "dead")
        policy = types.DeadLetterPolicy(dead_letter_topic=dead, max_delivery_attempts=5)
        pushed = server.create_push("project", "ingest", "lines", endpoint, dead_letter_policy=policy)
        redelivered = server.create_push("project", "again", "lines", endpoint)
        buried = server.create_push("project", "buried", "dead", endpoint)
        server.faults.refuse.extend([grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED])
        server.faults.lose_answers = 2
        postgres.kill()
        produce_records(kafka, topic, produced)
        settings = Settings(
            kafka_bootstrap=kafka.bootstrap,
            kafka_topic=topic,
            kafka_options=(*CONSUMER_OPTIONS, ("group.id", topic)),
            delivery_url="pubsub://project/lines",
        )
        stop = threading.Event()
        bridge = threading.Thread(
            target=forward,
            args=(settings, stop, BridgeLimits(max_bytes=15_000, max_in_flight=3)),
            daemon=True,
        )
        bridge.start()
        wait_until(lambda: sum(name == dead for name, _ in server.published) >= 1)
        postgres.start()
        with closing(Database(postgres.url)) as database:
            wait_until(lambda: verify(database, produced).exact)
            wait_until(lambda: [server.backlog(name) for name in (pushed, redelivered, buried)] == [0, 0, 0])
            found = verify(database, produced)
        stop.set()
        bridge.join(30)
        function.process.stop()
    sizes = [len(message.data) for name, message in server.published if name != dead]
    server.close()
    assert (found.exact, found.acknowledged) == (True, LINES), found
    assert max(sizes) <= 15_000
