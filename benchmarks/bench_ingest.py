"""From Kafka to visible rows: how many, how soon, in how much memory."""

from __future__ import annotations

import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterable
from io import BytesIO
from itertools import islice

from benchmarks.ingest_path import (
    PARTITIONS,
    STREAM_LINES_PER_S,
    TOPIC,
    IngestPath,
    broker_and_bridge,
    ingest_path,
    lines,
    produce,
    rss_mb,
)
from benchmarks.registry import BenchmarkResult, at_least, at_most, benchmark
from marquee.ingest.retention_terms import aggregate_remaining
from marquee.local.process import Process

COUNT, ROUNDS = 1_000_000, 3
TABLES = ("watches", "ratings", "recommendation_requests", "accounts", "quarantine", "watch_sessions")
_EMPTY = f"TRUNCATE {', '.join(TABLES)}"


@benchmark("ingest_lines_per_s", "ingest_copy_ratio")
def throughput() -> Iterable[BenchmarkResult]:
    """A backlog, drained and aggregated_at; then the same rows by COPY into the same tables, emptied. Thrice, in turn."""
    with ingest_path() as path:
        paces = [_pace(path, lines(COUNT, seed)) for seed in range(1, ROUNDS + 1)]
    per_s, copied_per_s = (statistics.median(pace) for pace in zip(*paces, strict=True))
    ratios = [ours / copied for ours, copied in paces]
    name = (
        f"raw COPY of the same rows into the same tables, {copied_per_s:.0f} records/s; "
        f"medians of {ROUNDS} rounds of {COUNT:,} lines, whose ratios are {', '.join(f'{r:.2f}' for r in ratios)}"
    )
    yield at_least(
        "ingest_lines_per_s", per_s, "lines/s", 20 * STREAM_LINES_PER_S, reference=name, of=copied_per_s
    )
    yield at_least("ingest_copy_ratio", statistics.median(ratios), "", 0.5, reference=name)


def _pace(path: IngestPath, backlog: Iterable[bytes]) -> tuple[float, float]:
    """Lines a second: on our way from the topic, and by COPY."""
    before = path.written()
    count = path.produce(backlog)
    path.bridge.start()
    # The start of a process, and the joining of a group, are not its pace.
    path.await_written(before + count // 20)
    began, first = time.perf_counter(), path.written()
    path.await_written(before + count)
    aggregate_remaining(path.database)
    per_s = (before + count - first) / (time.perf_counter() - began)
    path.bridge.stop()
    return per_s, count / copy_s(path)


def copy_s(path: IngestPath) -> float:
    """Seconds that one COPY a table takes for all that was written, indexes and commit included; empties the tables."""
    with path.database.transaction(deadline_ms=0) as cursor:
        kept = {table: BytesIO() for table in TABLES}
        for table, rows in kept.items():
            cursor.copy_expert(f"COPY {table} TO STDOUT", rows)
            rows.seek(0)
        cursor.execute(_EMPTY)
    began = time.perf_counter()
    with path.database.transaction(deadline_ms=0) as cursor:
        for table, rows in kept.items():
            cursor.copy_expert(f"COPY {table} FROM STDIN", rows, 1 << 20)
    took = time.perf_counter() - began
    with path.database.transaction(deadline_ms=0) as cursor:
        cursor.execute(_EMPTY)
    return took


WARM_UP = 700_000
RSS_COUNT = 1_000_000
RSS_COUNT_ALONE = 10_000_000


@benchmark("bridge_rss_mb")
def bridge_memory() -> Iterable[BenchmarkResult]:
    """A bridge that forwards ten million lines (asked for alone; else one million) to a receiver that takes all."""
    count = _count_for("bridge_rss_mb")
    with broker_and_bridge() as (kafka, bridge, receiver):
        receiver.hold()
        produce(kafka.bootstrap, islice(lines(WARM_UP), WARM_UP))
        bridge.start()
        _await_level(bridge)  # It holds as much as it ever may.
        receiver.release()
        receiver.wait_for(WARM_UP)

        def follow(written: int) -> None:  # The broker keeps it all in memory.
            receiver.wait_for(WARM_UP + written - 200_000)

        sizes = _sizes_during(bridge, lambda told: produce(kafka.bootstrap, lines(count), told), follow)
        receiver.wait_for(WARM_UP + count)
    yield _flat("bridge_rss_mb", sizes, count)


@benchmark("function_rss_mb")
def function_memory() -> Iterable[BenchmarkResult]:
    """The one worker of `ingest`, while ten million lines (asked for alone; else one million) go into the tables."""
    count = _count_for("function_rss_mb")
    with ingest_path() as path:
        path.produce(islice(lines(WARM_UP), WARM_UP))
        path.bridge.start()
        path.await_written(WARM_UP)

        def follow(written: int) -> None:
            path.await_written(WARM_UP + written - 200_000)

        sizes = _sizes_during(path.function, lambda told: path.produce(lines(count), told), follow)
        path.await_written(WARM_UP + count)
    yield _flat("function_rss_mb", sizes, count)


def _count_for(name: str) -> int:
    return RSS_COUNT_ALONE if sys.argv[1:] == ["--only", name] else RSS_COUNT


def _await_level(process: Process) -> None:
    """Wait until its memory has not grown for five seconds."""
    largest, since = 0.0, time.monotonic()
    while time.monotonic() < since + 5:
        if (now := rss_mb(process)) > largest:
            largest, since = now, time.monotonic()
        time.sleep(0.1)


def _sizes_during(
    process: Process, write: Callable[[Callable[[int], None]], object], follow: Callable[[int], None]
) -> list[float]:
    """Resident sizes while ``write`` tells how much it has written, which ``follow`` waits for."""
    sizes = [rss_mb(process)]

    def note(written: int) -> None:
        follow(written)
        if written % 50_000 == 0:
            sizes.append(rss_mb(process))

    write(note)
    return [*sizes, rss_mb(process)]


def _flat(name: str, sizes: list[float], count: int) -> BenchmarkResult:
    """The largest of the last four fifths against that of the first."""
    fifth = len(sizes) // 5
    early, late = max(sizes[:fifth]), max(sizes[fifth:])
    reference = f"largest in the first fifth of {count:,} lines, {early:.0f} MB; later {late:.0f} MB"
    return at_most(name, late, "MB", 1.1 * early, reference=reference, of=early)


LAG_FOR_S = 20


@benchmark("lag_p99_s")
def lag() -> Iterable[BenchmarkResult]:
    """Lines at the real stream's pace: from handing each to Kafka's client until a query sees its row."""
    with ingest_path() as path:
        path.bridge.start()
        path.produce(islice(lines(PARTITIONS), PARTITIONS))
        path.await_written(PARTITIONS)
        seen: dict[int, list[tuple[float, int]]] = {partition: [] for partition in range(PARTITIONS)}
        done = threading.Event()
        watcher = threading.Thread(target=_watch, args=(path, seen, done))
        watcher.start()
        sent = _paced(path, LAG_FOR_S * STREAM_LINES_PER_S)
        path.await_written(PARTITIONS + LAG_FOR_S * STREAM_LINES_PER_S)
        time.sleep(0.2)
        done.set()
        watcher.join()
    waits = sorted(wait for p in range(PARTITIONS) for wait in _waits(sent[p], seen[p]))
    p99 = waits[int(len(waits) * 0.99)]
    reference = f"p50 {waits[len(waits) // 2]:.2f} s, longest {waits[-1]:.2f} s"
    yield at_most("lag_p99_s", p99, "s", 1.0, reference=reference)


def _paced(path: IngestPath, count: int) -> dict[int, list[float]]:
    """When each line was handed over, by partition in the order of offsets."""
    from confluent_kafka import Producer

    producer = Producer({"bootstrap.servers": path.kafka.bootstrap, "linger.ms": 5, "log_level": 0})
    sent: dict[int, list[float]] = {partition: [] for partition in range(PARTITIONS)}
    began = time.monotonic()
    for number, line in enumerate(lines(count)):
        wait = began + number / STREAM_LINES_PER_S - time.monotonic()
        if wait > 0:
            producer.poll(wait)
        sent[number % PARTITIONS].append(time.monotonic())
        producer.produce(TOPIC, line, partition=number % PARTITIONS)
    producer.flush(30)
    return sent


def _watch(path: IngestPath, seen: dict[int, list[tuple[float, int]]], done: threading.Event) -> None:
    """Note up to which offset all rows are visible, fifty times a second."""
    from marquee.db.pool import Database

    database = Database(path.postgres.url)
    query = "SELECT partition, upper(range_merge(written)) FROM written_offsets"
    while not done.wait(0.02):
        with database.transaction() as cursor:
            cursor.execute(query)
            rows = cursor.fetchall()
        for partition, after in rows:
            seen[partition].append((time.monotonic(), after))
    database.close()


def _waits(sent: list[float], seen: list[tuple[float, int]]) -> Iterable[float]:
    looks = iter(seen)
    at, after = next(looks)
    for number, handed_over in enumerate(sent):
        while after <= number + 1:  # One line was there before them.
            at, after = next(looks)
        yield at - handed_over
