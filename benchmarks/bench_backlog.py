"""The backlog of a stopped bridge: the rate at which it is caught up beside a busy core."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager

from benchmarks.ingest_path import (
    PARTITIONS,
    STREAM_RECORDS_PER_S,
    TOPIC,
    IngestPath,
    ingest_path,
    log_records,
    produce,
)
from benchmarks.registry import BenchmarkResult, at_least, benchmark, is_full_run

RECORDS = 300_000
STOPPED_S = 15 * 60
BATCH_RECORDS = 400
GOAL_RECORDS_PER_S = 20_000


@benchmark("backlog_lines_per_s")
def backlog() -> Iterable[BenchmarkResult]:
    """Stop the bridge, write 300,000 records (15 minutes of the stream in a full run), and continue it.

    The time ends with the last row. It includes the time in which the bridge notices that it lost its partitions,
    and joins its group again.
    """
    count = STOPPED_S * STREAM_RECORDS_PER_S if is_full_run() else RECORDS
    with ingest_path() as path:
        path.bridge.start()
        path.produce(log_records(PARTITIONS))
        path.await_written(PARTITIONS)
        path.bridge.kill(signal.SIGSTOP)
        _produce_in_small_batches(path, count)
        with _busy_core():
            read_rate = _read_rate(path, count)
            rate = _catch_up_rate(path, count)
    yield at_least(
        "backlog_lines_per_s",
        rate,
        "records/s",
        GOAL_RECORDS_PER_S,
        reference=f"the broker in memory gives the same {count:,} records to a consumer: {read_rate:,.0f} records/s",
        reference_value=read_rate,
    )


def _produce_in_small_batches(path: IngestPath, count: int) -> None:
    """Write the records in batches of the size that the simulator's are at the rate of the real stream."""
    options: dict[str, str | int] = {"linger.ms": 5, "batch.num.messages": BATCH_RECORDS, "compression.type": "zstd"}
    produce(path.kafka.bootstrap, log_records(count), options=options, in_a_row=BATCH_RECORDS)


def _catch_up_rate(path: IngestPath, count: int) -> float:
    began = time.perf_counter()
    path.bridge.kill(signal.SIGCONT)
    path.await_written(PARTITIONS + count)
    return count / (time.perf_counter() - began)


def _read_rate(path: IngestPath, count: int) -> float:
    """Return the records per second that a consumer without further work reads from the topic."""
    from confluent_kafka import Consumer, TopicPartition

    options = {"bootstrap.servers": path.kafka.bootstrap, "group.id": "reference", "log_level": 0}
    with closing(Consumer(options)) as consumer:
        began, read = time.perf_counter(), 0
        consumer.assign([TopicPartition(TOPIC, partition, 0) for partition in range(PARTITIONS)])
        while read < count:
            messages = consumer.consume(20_000, 10.0)
            if not messages:
                raise TimeoutError(f"{read} of {count} records were read, and none for ten seconds")
            read += len([message for message in messages if message.error() is None])
        return read / (time.perf_counter() - began)


@contextmanager
def _busy_core() -> Iterator[None]:
    """Keep one core busy for the block."""
    spinning = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        spinning.kill()
        spinning.wait()
