"""Producers: no record is dropped, and permanent failures are reported."""

from __future__ import annotations

import io
import time
from pathlib import Path
from typing import NamedTuple

import pytest

from marquee.config.settings import Settings
from marquee.local.embedded_kafka import EmbeddedKafka
from marquee.local.process import free_port
from marquee.simulate.delivery_counts import DeliveryCounts
from marquee.simulate.producer import (
    KafkaRecordProducer,
    KafkaRefused,
    PipeClosed,
    PipeProducer,
    RecordProducer,
)


class FakeKafkaError(NamedTuple):
    """An error as the Kafka client reports it."""

    is_fatal: bool

    def fatal(self) -> bool:
        return self.is_fatal

    def str(self) -> str:
        return "out of order sequence"


@pytest.mark.servers
def test_kafka_producer_records_beyond_its_limit_are_kept(tmp_path: Path) -> None:
    """Without a broker the producer has no room, yet keeps the request records that still arrive."""
    counts, port = DeliveryCounts(), free_port()
    producer = KafkaRecordProducer(Settings(), f"127.0.0.1:{port}", "narrow", partitions=1, max_pending=5)
    assert not producer.ensure_topic()
    assert producer.problem.startswith(f"Kafka at 127.0.0.1:{port} does not accept records")
    group = counts.group("recommendation")
    for number in range(25):
        producer.write(b"%d" % number, group)
    assert not producer.has_room()
    assert producer.pending() >= 25
    with EmbeddedKafka(tmp_path, durable=False, port=port):
        assert producer.ensure_topic()
        deadline = time.monotonic() + 60
        while producer.pending() and time.monotonic() < deadline:
            producer.poll()
            time.sleep(0.01)
    assert (counts.acknowledged, counts.unacknowledged) == (25, 0)
    assert sum(span.records for span in counts.partitions.values()) == 25
    assert (producer.has_room(), producer.problem) == (True, "")


def test_kafka_producer_fatal_error_is_raised() -> None:
    """A transient error is retried and reported; a fatal one ends the simulation."""
    producer = KafkaRecordProducer(Settings(), f"127.0.0.1:{free_port()}", "refused")
    producer.handle_error(FakeKafkaError(is_fatal=False))
    producer.poll()
    assert "retrying" in producer.problem
    producer.handle_error(FakeKafkaError(is_fatal=True))
    with pytest.raises(KafkaRefused, match="Start the simulation again"):
        producer.poll()


def test_pipe_producer_records_are_acknowledged_at_once() -> None:
    """Records are written one per line and are never pending."""
    out, counts = io.BytesIO(), DeliveryCounts()
    producer = PipeProducer(out)
    for record in (b"one", b"two"):
        producer.write(record, counts.group("watch"))
    producer.poll()
    assert out.getvalue() == b"one\ntwo\n"
    assert (counts.acknowledged, counts.unacknowledged, producer.pending()) == (2, 0, 0)


def test_pipe_producer_closed_pipe_is_an_error() -> None:
    """A closed pipe raises when written and when flushed, and acknowledges nothing."""

    class ClosedPipe(io.BytesIO):
        def write(self, data: object) -> int:
            raise BrokenPipeError

        def flush(self) -> None:
            raise BrokenPipeError

    counts = DeliveryCounts()
    producer = PipeProducer(ClosedPipe())
    with pytest.raises(PipeClosed):
        producer.write(b"one", counts.group("watch"))
    with pytest.raises(PipeClosed):
        producer.poll()
    assert counts.acknowledged == 0


def test_null_producer_counts_nothing() -> None:
    """Without an event log no record is counted or pending."""
    counts, producer = DeliveryCounts(), RecordProducer()
    producer.write(b"one", counts.group("recommendation"))
    producer.poll()
    assert (producer.has_room(), producer.pending()) == (True, 0)
    assert (counts.acknowledged, counts.unacknowledged) == (0, 0)
