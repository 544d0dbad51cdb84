"""Producer of known records at a steady rate, which waits for the acknowledgement of each."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any

from confluent_kafka import Consumer, KafkaError, Message, Producer, TopicPartition
from tests.chaos.known_records import KnownRecord, ProducedRecords

MAX_PENDING = 20_000
STALL_S = 15.0
"""Seconds without an acknowledgement after which the producer is replaced, longer than any outage that is injected."""


class Writer:
    """A thread that writes known records to ``topic`` and notes the position of each.

    A producer with an error that it does not retry, or without an acknowledgement for :data:`STALL_S`, is replaced:
    the embedded broker forgets producers at a restart. Records that were not acknowledged are written again, and may be
    in Kafka at two offsets. Those count as two records.
    """

    def __init__(
        self, bootstrap: str, topic: str, partitions: int, produced: ProducedRecords, records_per_s: float
    ) -> None:
        self._bootstrap, self._topic, self._partitions = bootstrap, topic, partitions
        self._produced, self._records_per_s = produced, records_per_s
        self._pending: dict[int, KnownRecord] = {}
        self._writing, self._stopped = threading.Event(), threading.Event()
        self._writing.set()
        self._final_error: KafkaError | None = None
        self._acknowledged_at = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)

    def start(self) -> None:
        """Start writing."""
        self._thread.start()

    def finish(self, timeout_s: float) -> None:
        """Write no further record, and wait until Kafka has acknowledged all of them."""
        self._writing.clear()
        self._thread.join(timeout_s)
        assert not self._pending, f"Kafka did not acknowledge {len(self._pending)} records in {timeout_s:g} s"

    def stop(self) -> None:
        """Stop, even if records are not acknowledged."""
        self._writing.clear()
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        producer, started = self._connect(), time.monotonic()
        while not self._stopped.is_set() and (self._writing.is_set() or self._pending):
            stalled = self._pending and time.monotonic() - self._acknowledged_at > STALL_S
            if self._final_error or stalled:
                producer.purge()
                producer = self._connect()
                for record in list(self._pending.values()):
                    self._send(producer, record)
            due = int((time.monotonic() - started) * self._records_per_s)
            while self._writing.is_set() and self._produced.written < due and len(self._pending) < MAX_PENDING:
                record = self._produced.next()
                self._pending[record.number] = record
                self._send(producer, record)
            producer.poll(0.01)
        producer.purge()

    def _connect(self) -> Producer:
        self._final_error, self._acknowledged_at = None, time.monotonic()
        return Producer(
            {
                "bootstrap.servers": self._bootstrap,
                "enable.idempotence": True,
                "linger.ms": 250,
                "message.timeout.ms": 0,
                "reconnect.backoff.max.ms": 500,
                "log_level": 0,
                "error_cb": self._on_error,
            }
        )

    def _send(self, producer: Producer, record: KnownRecord) -> None:
        def delivered(error: KafkaError | None, message: Message) -> None:
            if error is None:
                self._acknowledged_at = time.monotonic()
                self._pending.pop(record.number, None)
                self._produced.acknowledge(record.number, message.partition() or 0, message.offset() or 0)
            elif error.code() not in (KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT):
                self._final_error = error

        producer.produce(self._topic, record.raw, partition=record.number % self._partitions, on_delivery=delivered)

    def _on_error(self, error: Any) -> None:
        if error.fatal():
            self._final_error = error


def read_topic(bootstrap: str, topic: str, ends: Mapping[int, int]) -> dict[tuple[int, int], bytes]:
    """Return all records of the topic by (partition, offset), at least up to the known end of each partition."""
    records: dict[tuple[int, int], bytes] = {}
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": f"{topic}-reader", "log_level": 0})
    try:
        for partition, end in ends.items():
            consumer.assign([TopicPartition(topic, partition, 0)])
            stop_at = time.monotonic() + 20
            # Beyond the known end there may be records whose acknowledgement was lost.
            while time.monotonic() < stop_at:
                for message in consumer.consume(5_000, 1.0):
                    if message.error() is None:
                        offset = message.offset() or 0
                        records[partition, offset] = message.value() or b""
                        stop_at = time.monotonic() + (20 if offset < end - 1 else 2)
    finally:
        consumer.close()
    return records
