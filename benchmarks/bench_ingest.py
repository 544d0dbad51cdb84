"""The stream path from Kafka to visible rows: throughput, delay and memory."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Iterable
from io import BytesIO
from itertools import islice

from benchmarks.ingest_path import (
    PARTITIONS,
    STREAM_RECORDS_PER_S,
    TOPIC,
    IngestPath,
    broker_and_bridge,
    ingest_path,
    log_records,
    produce,
    rss_mb,
)
from benchmarks.registry import BenchmarkResult, at_least, at_most, benchmark, is_full_run
from marquee.ingest.retention_terms import aggregate_remaining
from marquee.local.process import Process

RECORDS, ROUNDS = 1_000_000, 3
TABLES = ("watches", "ratings", "recommendation_requests", "accounts", "quarantine", "watch_sessions")
_EMPTY = f"TRUNCATE {', '.join(TABLES)}"


@benchmark("ingest_lines_per_s", "ingest_copy_ratio")
def throughput() -> Iterable[BenchmarkResult]:
    """Drain and aggregate a backlog, then COPY the same rows into the same tables, emptied; three rounds in turn."""
    with ingest_path() as path:
        rates = [_rates(path, log_records(RECORDS, seed)) for seed in range(1, ROUNDS + 1)]
    path_rates, copy_rates = zip(*rates, strict=True)
    ratios = [path_rate / copy_rate for path_rate, copy_rate in rates]
    copy_rate = statistics.median(copy_rates)
    reference = (
        f"one COPY per table of the same rows: {copy_rate:,.0f} records/s; "
        f"median and range of {ROUNDS} rounds of {RECORDS:,} records"
    )
    yield at_least(
        "ingest_lines_per_s",
        statistics.median(path_rates),
        "records/s",
        20 * STREAM_RECORDS_PER_S,
        reference=reference,
        reference_value=copy_rate,
        interval=(min(path_rates), max(path_rates)),
    )
    yield at_least(
        "ingest_copy_ratio",
        statistics.median(ratios),
        "ratio",
        0.5,
        reference=reference,
        interval=(min(ratios), max(ratios)),
    )


def _rates(path: IngestPath, backlog: Iterable[bytes]) -> tuple[float, float]:
    """Return the records per second of the stream path and of COPY."""
    before = path.written()
    count = path.produce(backlog)
    path.bridge.start()
    # Starting a process and joining a consumer group do not count.
    path.await_written(before + count // 20)
    began, first = time.perf_counter(), path.written()
    path.await_written(before + count)
    aggregate_remaining(path.database)
    per_s = (before + count - first) / (time.perf_counter() - began)
    path.bridge.stop()
    return per_s, count / copy_seconds(path)


def copy_seconds(path: IngestPath) -> float:
    """Return the seconds of one COPY per table of all rows, indexes and commit included; empty the tables."""
    with path.database.transaction(deadline_ms=0) as cursor:
        copies = {table: BytesIO() for table in TABLES}
        for table, rows in copies.items():
            cursor.copy_expert(f"COPY {table} TO STDOUT", rows)
            rows.seek(0)
        cursor.execute(_EMPTY)
    began = time.perf_counter()
    with path.database.transaction(deadline_ms=0) as cursor:
        for table, rows in copies.items():
            cursor.copy_expert(f"COPY {table} FROM STDIN", rows, 1 << 20)
    seconds = time.perf_counter() - began
    with path.database.transaction(deadline_ms=0) as cursor:
        cursor.execute(_EMPTY)
    return seconds


WARM_UP = 700_000
RSS_RECORDS = 1_000_000
RSS_RECORDS_FULL = 10_000_000


@benchmark("bridge_rss_mb")
def bridge_memory() -> Iterable[BenchmarkResult]:
    """Measure a bridge that forwards a million records, ten million in a full run, to a receiver that accepts all."""
    count = _record_count()
    with broker_and_bridge() as (kafka, bridge, receiver):
        receiver.hold()
        produce(kafka.bootstrap, islice(log_records(WARM_UP), WARM_UP))
        bridge.start()
        _await_constant_memory(bridge)  # Its buffers are full.
        receiver.release()
        receiver.wait_for(WARM_UP)

        def follow(written: int) -> None:  # The broker keeps all unread records in memory.
            receiver.wait_for(WARM_UP + written - 200_000)

        sizes = _sizes_during(bridge, lambda report: produce(kafka.bootstrap, log_records(count), report), follow)
        receiver.wait_for(WARM_UP + count)
    yield _compare_memory("bridge_rss_mb", sizes, count)


@benchmark("function_rss_mb")
def function_memory() -> Iterable[BenchmarkResult]:
    """Measure the one worker of `ingest` while a million records, ten million in a full run, are written."""
    count = _record_count()
    with ingest_path() as path:
        path.produce(islice(log_records(WARM_UP), WARM_UP))
        path.bridge.start()
        path.await_written(WARM_UP)

        def follow(written: int) -> None:
            path.await_written(WARM_UP + written - 200_000)

        sizes = _sizes_during(path.function, lambda report: path.produce(log_records(count), report), follow)
        path.await_written(WARM_UP + count)
    yield _compare_memory("function_rss_mb", sizes, count)


def _record_count() -> int:
    return RSS_RECORDS_FULL if is_full_run() else RSS_RECORDS


def _await_constant_memory(process: Process) -> None:
    """Wait until the memory of a process has not grown for five seconds."""
    largest, since = 0.0, time.monotonic()
    while time.monotonic() < since + 5:
        if (now := rss_mb(process)) > largest:
            largest, since = now, time.monotonic()
        time.sleep(0.1)


def _sizes_during(
    process: Process, write: Callable[[Callable[[int], None]], object], follow: Callable[[int], None]
) -> list[float]:
    """Return resident sizes in MB while ``write`` reports its progress, which ``follow`` waits for."""
    sizes = [rss_mb(process)]

    def note(written: int) -> None:
        follow(written)
        if written % 50_000 == 0:
            sizes.append(rss_mb(process))

    write(note)
    return [*sizes, rss_mb(process)]


def _compare_memory(name: str, sizes: list[float], count: int) -> BenchmarkResult:
    """Compare the largest size in the last four fifths of the records with that in the first."""
    fifth = len(sizes) // 5
    early, late = max(sizes[:fifth]), max(sizes[fifth:])
    reference = f"largest size in the first fifth of {count:,} records: {early:.0f} MB"
    return at_most(name, late, "MB", round(1.1 * early), reference=reference, reference_value=early)


LAG_DURATION_S = 20


@benchmark("lag_p99_s")
def lag() -> Iterable[BenchmarkResult]:
    """Measure from handing a record to Kafka's client until a query sees its row, at the rate of the real stream."""
    with ingest_path() as path:
        path.bridge.start()
        path.produce(islice(log_records(PARTITIONS), PARTITIONS))
        path.await_written(PARTITIONS)
        seen: dict[int, list[tuple[float, int]]] = {partition: [] for partition in range(PARTITIONS)}
        done = threading.Event()
        watcher = threading.Thread(target=_watch, args=(path, seen, done))
        watcher.start()
        sent = _produce_at_rate(path, LAG_DURATION_S * STREAM_RECORDS_PER_S)
        path.await_written(PARTITIONS + LAG_DURATION_S * STREAM_RECORDS_PER_S)
        time.sleep(0.2)
        done.set()
        watcher.join()
    lags = sorted(lag for p in range(PARTITIONS) for lag in _lags(sent[p], seen[p]))
    p99 = lags[int(len(lags) * 0.99)]
    reference = f"p50 {lags[len(lags) // 2]:.2f} s, maximum {lags[-1]:.2f} s"
    yield at_most("lag_p99_s", p99, "s", 1.0, reference=reference)


def _produce_at_rate(path: IngestPath, count: int) -> dict[int, list[float]]:
    """Write records at the rate of the real stream; return the time of each, by partition in the order of offsets."""
    from confluent_kafka import Producer

    producer = Producer({"bootstrap.servers": path.kafka.bootstrap, "linger.ms": 5, "log_level": 0})
    sent: dict[int, list[float]] = {partition: [] for partition in range(PARTITIONS)}
    began = time.monotonic()
    for number, record in enumerate(log_records(count)):
        wait = began + number / STREAM_RECORDS_PER_S - time.monotonic()
        if wait > 0:
            producer.poll(wait)
        sent[number % PARTITIONS].append(time.monotonic())
        producer.produce(TOPIC, record, partition=number % PARTITIONS)
    producer.flush(30)
    return sent


def _watch(path: IngestPath, seen: dict[int, list[tuple[float, int]]], done: threading.Event) -> None:
    """Record, fifty times a second, the offset up to which all rows are visible."""
    from marquee.db.pool import Database

    database = Database(path.postgres.url)
    query = "SELECT partition, upper(range_merge(written)) FROM written_offsets"
    while not done.wait(0.02):
        with database.transaction() as cursor:
            cursor.execute(query)
            rows = cursor.fetchall()
        for partition, next_offset in rows:
            seen[partition].append((time.monotonic(), next_offset))
    database.close()


def _lags(sent: list[float], seen: list[tuple[float, int]]) -> Iterable[float]:
    observations = iter(seen)
    at, next_offset = next(observations)
    for number, sent_at in enumerate(sent):
        while next_offset <= number + 1:  # One record was written before the measured ones.
            at, next_offset = next(observations)
        yield at - sent_at
