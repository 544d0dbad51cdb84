"""The service that writes the log: lines at a steady rate, each of which it waits for until Kafka has it."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any

from confluent_kafka import Consumer, KafkaError, Message, Producer, TopicPartition
from tests.chaos.lines import Ledger, Line

ROOM = 20_000


class Writer:
    """A thread that writes the ledger's lines to ``topic`` and notes where each has come to lie.

    A producer that an embedded broker's restart has confused for good is replaced: what was not acknowledged
    is written again, and may be in Kafka twice, under two offsets. Those are two lines.
    """

    def __init__(
        self, bootstrap: str, topic: str, partitions: int, ledger: Ledger, lines_per_s: float
    ) -> None:
        self._bootstrap, self._topic, self._partitions = bootstrap, topic, partitions
        self._ledger, self._lines_per_s = ledger, lines_per_s
        self._waiting: dict[int, Line] = {}
        self._writing, self._stopped = threading.Event(), threading.Event()
        self._writing.set()
        self._confused: KafkaError | None = None
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def finish(self, patience_s: float) -> None:
        """Begin no further line, and wait until Kafka has all of them."""
        self._writing.clear()
        self._thread.join(patience_s)
        assert not self._waiting, f"Kafka did not take {len(self._waiting)} lines in {patience_s:g} s"

    def stop(self) -> None:
        """Stop, whatever is still on its way."""
        self._writing.clear()
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        producer, began = self._connect(), time.monotonic()
        while not self._stopped.is_set() and (self._writing.is_set() or self._waiting):
            if self._confused:
                producer.purge()
                producer = self._connect()
                for line in list(self._waiting.values()):
                    self._send(producer, line)
            due = int((time.monotonic() - began) * self._lines_per_s)
            while self._writing.is_set() and self._ledger.written < due and len(self._waiting) < ROOM:
                line = self._ledger.next()
                self._waiting[line.number] = line
                self._send(producer, line)
            producer.poll(0.01)
        producer.purge()

    def _connect(self) -> Producer:
        self._confused = None
        return Producer(
            {
                "bootstrap.servers": self._bootstrap,
                "enable.idempotence": True,
                "linger.ms": 250,
                "message.timeout.ms": 0,
                "reconnect.backoff.max.ms": 500,
                "log_level": 0,
                "error_cb": self._trouble,
            }
        )

    def _send(self, producer: Producer, line: Line) -> None:
        def delivered(error: KafkaError | None, message: Message) -> None:
            if error is None:
                self._waiting.pop(line.number, None)
                self._ledger.acknowledged(line.number, message.partition() or 0, message.offset() or 0)

        producer.produce(
            self._topic, line.raw, partition=line.number % self._partitions, on_delivery=delivered
        )

    def _trouble(self, error: Any) -> None:
        if error.fatal():
            self._confused = error


def read_topic(bootstrap: str, topic: str, ends: Mapping[int, int]) -> dict[tuple[int, int], bytes]:
    """All lines of the topic by (partition, offset), up to what is known to be the end of each partition."""
    found: dict[tuple[int, int], bytes] = {}
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": f"{topic}-reader", "log_level": 0})
    try:
        for partition, end in ends.items():
            consumer.assign([TopicPartition(topic, partition, 0)])
            quiet_at = time.monotonic() + 20
            # Beyond the end there may be lines whose acknowledgement was lost.
            while time.monotonic() < quiet_at:
                for message in consumer.consume(5_000, 1.0):
                    if message.error() is None:
                        offset = message.offset() or 0
                        found[partition, offset] = message.value() or b""
                        quiet_at = time.monotonic() + (20 if offset < end - 1 else 2)
    finally:
        consumer.close()
    return found
