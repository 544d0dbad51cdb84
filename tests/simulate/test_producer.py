"""The writers: nothing is dropped on the way, and what cannot be mended is said."""

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
    NullProducer,
    PipeClosed,
    PipeProducer,
)


class KafkaProblem(NamedTuple):
    """What the client tells of a problem."""

    is_fatal: bool

    def fatal(self) -> bool:
        return self.is_fatal

    def str(self) -> str:
        return "out of order sequence"


@pytest.mark.servers
def test_lines_beyond_the_clients_room_are_kept(tmp_path: Path) -> None:
    """While the broker is away the customers wait; outcomes of requests that still come are kept."""
    tally, port = DeliveryCounts(), free_port()
    writer = KafkaRecordProducer(Settings(), f"127.0.0.1:{port}", "narrow", partitions=1, room=5)
    assert not writer.make_topic()
    assert writer.waiting.startswith(f"Kafka at 127.0.0.1:{port} does not take lines")
    entry = tally.entry("recommendation")
    for number in range(25):
        writer.write(b"%d" % number, entry)
    assert not writer.ready()
    assert writer.left() >= 25
    with EmbeddedKafka(tmp_path, durable=False, port=port):
        assert writer.make_topic()
        deadline = time.monotonic() + 60
        while writer.left() and time.monotonic() < deadline:
            writer.poll()
            time.sleep(0.01)
    assert (tally.acknowledged, tally.unacknowledged) == (25, 0)
    assert sum(span.lines for span in tally.partitions.values()) == 25
    assert (writer.ready(), writer.waiting) == (True, "")


def test_a_passing_problem_is_waited_out_a_fatal_one_is_not() -> None:
    writer = KafkaRecordProducer(Settings(), f"127.0.0.1:{free_port()}", "refused")
    writer._trouble(KafkaProblem(is_fatal=False))
    writer.poll()
    assert "waiting for it" in writer.waiting
    writer._trouble(KafkaProblem(is_fatal=True))
    with pytest.raises(KafkaRefused, match="Start the simulation again"):
        writer.poll()


def test_a_pipe_takes_lines_at_once() -> None:
    out, tally = io.BytesIO(), DeliveryCounts()
    writer = PipeProducer(out)
    for line in (b"one", b"two"):
        writer.write(line, tally.entry("watch"))
    writer.poll()
    assert out.getvalue() == b"one\ntwo\n"
    assert (tally.acknowledged, tally.unacknowledged, writer.left()) == (2, 0, 0)


def test_a_pipe_that_nobody_reads() -> None:
    class Broken(io.BytesIO):
        def write(self, data: object) -> int:
            raise BrokenPipeError

        def flush(self) -> None:
            raise BrokenPipeError

    tally = DeliveryCounts()
    writer = PipeProducer(Broken())
    with pytest.raises(PipeClosed):
        writer.write(b"one", tally.entry("watch"))
    with pytest.raises(PipeClosed):
        writer.poll()
    assert tally.acknowledged == 0


def test_no_writer_counts_nothing() -> None:
    tally, writer = DeliveryCounts(), NullProducer()
    writer.write(b"one", tally.entry("recommendation"))
    writer.poll()
    assert (writer.ready(), writer.left(), tally.acknowledged, tally.unacknowledged) == (True, 0, 0, 0)
