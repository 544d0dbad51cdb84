"""The HTTP APIs under load: events beside the bridge's path, everything mixed, and the answers beyond capacity."""

from __future__ import annotations

import http.client
import json
import statistics
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import islice

from benchmarks.empty_database import empty_database
from benchmarks.ingest_path import log_records
from benchmarks.load import load
from benchmarks.open_load import OpenLoadResult, open_load
from benchmarks.registry import BenchmarkResult, at_least, at_most, benchmark
from benchmarks.serving import Instance, run_function, run_recommend, store
from marquee.config.settings import Settings
from marquee.events.batches import StreamBatch, make_record
from marquee.events.envelopes import encode_batch, to_http
from marquee.events.kinds import KIND_OF_EVENT, MalformedRecord, Rating, RecommendationRequest, Watch
from marquee.events.parser import EventParser

BATCH, SENDERS, ROUNDS, ROUND_S = 100, 4, 5, 4.0
BATCHES = 9_000
MIXED_PER_S, MIXED_S = 50, 20.0
OVERLOAD_ROUNDS = 3

Request = tuple[str, str, bytes | None, dict[str, str]]
"""Method, path, body and headers."""


@benchmark("events_ratio")
def events() -> Iterable[BenchmarkResult]:
    """Post the same records in batches of 100 to `events` as JSON, and to `ingest` as the bridge does, in turn."""
    lines = list(islice(log_records(BATCHES * BATCH, 3), BATCHES * BATCH))
    with _functions() as (ingest, taker):
        as_batches, as_events = iter(list(_bridge_requests(lines))), iter(list(_event_requests(lines)))
        _send_for(ingest, as_batches, 1.0)
        _send_for(taker, as_events, 1.0)
        rates = [(_send_for(taker, as_events, ROUND_S), _send_for(ingest, as_batches, ROUND_S)) for _ in range(ROUNDS)]
    ratios = [own / other for own, other in rates]
    own, other = (statistics.median(column) for column in zip(*rates, strict=True))
    reference = (
        f"`ingest` with the bridge's requests of the same {BATCH} records, {SENDERS} at a time: {other:,.0f} records/s "
        f"beside {own:,.0f}; median and range of {ROUNDS} rounds"
    )
    yield at_least(
        "events_ratio",
        statistics.median(ratios),
        "ratio",
        0.5,
        reference=reference,
        interval=(min(ratios), max(ratios)),
    )


@contextmanager
def _functions() -> Iterator[tuple[Instance, Instance]]:
    """Run `ingest` and `events` on one empty database."""
    with ExitStack() as stack:
        postgres = stack.enter_context(empty_database())
        ingest, taker = (
            stack.enter_context(run_function(name, database_url=postgres.url)) for name in ("ingest", "events")
        )
        for instance in (ingest, taker):
            instance.first_answer_ms("/healthz")
        yield ingest, taker


def _bridge_requests(lines: list[bytes]) -> Iterator[Request]:
    """Yield the batches as the bridge sends them, of four partitions in turn."""
    for number in range(BATCHES):
        first = number // SENDERS * BATCH
        values = lines[number * BATCH : (number + 1) * BATCH]
        records = tuple(make_record(first + i, 1_790_000_000_000, value) for i, value in enumerate(values))
        headers, body = to_http(encode_batch(StreamBatch("log", "bench", number % SENDERS, records, first)))
        yield "POST", "/", body, headers


def _event_requests(lines: list[bytes]) -> Iterator[Request]:
    parser = EventParser(Settings().time_zone)
    for first in range(0, len(lines), BATCH):
        documents = [_as_json(parser, line, first + i) for i, line in enumerate(lines[first : first + BATCH])]
        yield "POST", "/events", json.dumps(documents).encode(), {"Content-Type": "application/json"}


def _as_json(parser: EventParser, line: bytes, number: int) -> dict[str, object]:
    """Return the JSON record of a line; a malformed one is malformed as JSON too."""
    event = parser.parse(line.decode())
    head: dict[str, object] = {"id": f"event-{number}"}
    if isinstance(event, MalformedRecord):
        return head | {"type": "unknown"}
    head |= {"type": KIND_OF_EVENT[type(event)].name, "time": event.time.isoformat(), "user_id": event.user_id}
    if isinstance(event, Watch):
        return head | {"movie_id": event.movie_id, "minute": event.minute}
    if isinstance(event, Rating):
        return head | {"movie_id": event.movie_id, "rating": event.rating}
    if isinstance(event, RecommendationRequest):
        answer = {"server": event.server, "status": event.status, "movie_ids": event.movie_ids}
        return head | answer | {"result": event.result, "response_ms": event.response_ms}
    return head


def _send_for(instance: Instance, requests: Iterator[Request], seconds: float) -> float:
    """Send requests from several connections for some seconds; return the records accepted per second."""
    lock, counts, began = threading.Lock(), [0] * SENDERS, time.perf_counter()

    def send(sender: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", instance.port, timeout=30)
        while time.perf_counter() - began < seconds:
            with lock:
                request = next(requests)
            _check(connection, request)
            counts[sender] += BATCH
        connection.close()

    _in_threads(send)
    return sum(counts) / (time.perf_counter() - began)


def _in_threads(work: Callable[[int], None]) -> None:
    threads = [threading.Thread(target=work, args=(number,)) for number in range(SENDERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _check(connection: http.client.HTTPConnection, request: Request) -> None:
    connection.request(*request)
    response = connection.getresponse()
    body = response.read()
    if response.status >= 300:
        raise RuntimeError(f"{request[0]} {request[1]}: {response.status} {body[:200]!r}")


_KINDS = (
    "/recommend/{}",
    "/recommend/{}?n=10&explain=3",
    "/recommend/{}?year=1960..1999&exclude=film+number+1+1951&max_age=99&diversity=0.3",
    "/recommend/{}?profile=off",
    "/similar/film+number+{}+{}",
)


@benchmark("mixed_p99_ms")
def mixed() -> Iterable[BenchmarkResult]:
    """Send lists, reasons, filters, similar movies and events in turn, at a steady rate, on one database."""
    with ExitStack() as stack:
        postgres = stack.enter_context(empty_database())
        taker = stack.enter_context(run_function("events", database_url=postgres.url))
        lists = stack.enter_context(run_recommend(store(1_000, 32), database_url=postgres.url))
        lists.first_answer_ms("/recommend/1")
        taker.first_answer_ms("/healthz")
        _mix(lists, taker, 3.0)
        ms = sorted(_mix(lists, taker, MIXED_S))
    p50, p99 = ms[len(ms) // 2], ms[int(0.99 * len(ms))]
    reference = (
        f"{len(ms)} requests at {MIXED_PER_S}/s: plain lists, reasons, filters, no profile, similar movies and 10 "
        f"events, a sixth each; from the planned time of sending; median {p50:.1f} ms"
    )
    yield at_most("mixed_p99_ms", p99, "ms", 50, reference=reference)


def _mix(lists: Instance, taker: Instance, seconds: float) -> list[float]:
    """Return the milliseconds from each planned time of sending to the end of the answer."""
    total, took, began = int(seconds * MIXED_PER_S), list[float](), time.perf_counter()

    def send(sender: int) -> None:
        connections = [http.client.HTTPConnection("127.0.0.1", i.port, timeout=30) for i in (lists, taker)]
        for number in range(sender, total, SENDERS):
            planned = began + number / MIXED_PER_S
            time.sleep(max(0.0, planned - time.perf_counter()))
            kind = number % (len(_KINDS) + 1)
            if kind == len(_KINDS):
                _check(connections[1], _ten_events(number))
            else:
                year = 1950 + number % 1_000 % 70
                path = _KINDS[kind].format(number % 1_000, year)
                _check(connections[0], ("GET", path, None, {"Accept": "application/json"}))
            took.append((time.perf_counter() - planned) * 1000)

    _in_threads(send)
    return took


def _ten_events(number: int) -> Request:
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    events = [
        {"id": f"{time.time_ns()}-{i}", "time": stamp, "type": "rating", "user_id": str(number % 1_000),
         "movie_id": f"film+number+{i}+{1950 + i}", "rating": 4}
        for i in range(10)
    ]  # fmt: skip
    return "POST", "/events", json.dumps(events).encode(), {"Content-Type": "application/json"}


@benchmark("overload_share")
def overload_share() -> Iterable[BenchmarkResult]:
    """Send twice the requests that the instance can answer; count how many of the accepted ones meet 600 ms."""
    shares: list[float] = []
    totals: list[OpenLoadResult] = []
    with run_recommend(store(1_000, 32)) as instance:
        instance.first_answer_ms("/recommend/1")
        for _ in range(OVERLOAD_ROUNDS):
            rate = load(instance.port, _user_path, connections=8, seconds=3.0).per_second
            result = open_load(instance.port, _user_path, rate=2 * rate, seconds=5.0)
            shares.append(result.in_time / max(1, result.in_time + result.late))
            totals.append(result)
    refused = sum(result.refused for result in totals) / max(1, sum(result.sent for result in totals))
    reference = (
        f"answers within 600 ms of those that were not refused, at twice the capacity; {refused:.0%} were refused; "
        f"{OVERLOAD_ROUNDS} rounds of 5 s; the client needs a processor of its own"
    )
    interval = (min(shares), max(shares))
    yield at_least(
        "overload_share", statistics.median(shares), "fraction", 0.95, reference=reference, interval=interval
    )


def _user_path(number: int) -> str:
    return f"/recommend/{number % 1_000}"
