"""The stream path from Kafka to the tables as processes, and realistic records to send through it."""

from __future__ import annotations

import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
from confluent_kafka import Producer

from benchmarks.empty_database import empty_database
from marquee.config.settings import Settings
from marquee.db.pool import Database
from marquee.local.embedded_kafka import CONSUMER_OPTIONS, EmbeddedKafka
from marquee.local.embedded_postgres import EmbeddedPostgres
from marquee.local.function_process import function_instance, health_check
from marquee.local.infra_spec import read_functions
from marquee.local.process import Process, free_port

ROOT = Path(__file__).parents[1]
TOPIC, PARTITIONS = "movielog", 2
STREAM_RECORDS_PER_S = 1_580
# Each watching user sends one record a minute.
WATCHING_USERS = STREAM_RECORDS_PER_S * 60
MOVIES = 27_278
LARGE_BATCHES: Mapping[str, str | int] = {"linger.ms": 50, "batch.size": 500_000}
"""Options of a producer that writes as fast as it can."""
_START = datetime(2026, 11, 14, 12, 0)


def log_records(count: int, seed: int = 1) -> Iterator[bytes]:
    """Yield records as the streaming service writes them: one per watching user and minute, 98 % of them watches."""
    rng = random.Random(seed)
    watching = [(rng.randrange(1, 1_000_000), _movie_id(rng), rng.randrange(60)) for _ in range(WATCHING_USERS)]
    for number in range(count):
        at = _START + timedelta(seconds=number / STREAM_RECORDS_PER_S)
        stamp = at.isoformat(timespec="milliseconds")
        user, movie, minute = watching[number % WATCHING_USERS]
        kind = rng.random()
        if kind < 0.98:
            yield f"{stamp},{user},GET /data/m/{movie}/{minute + number // WATCHING_USERS}.mpg".encode()
        elif kind < 0.99:
            yield f"{stamp},{user},GET /rate/{movie}={rng.randint(1, 5)}".encode()
        elif kind < 0.999:
            answer = f"status 200, result: {', '.join([movie] * 20)}, 31 ms"
            yield f"{stamp},{user},recommendation request 127.0.0.1:8082, {answer}".encode()
        else:
            yield f"{stamp},{user},GZET /data/m/{movie}/1.mpg".encode()


def _movie_id(rng: random.Random) -> str:
    number = rng.randrange(MOVIES)
    return f"the+film+number+{number}+{1920 + number % 100}"


def _ignore(count: int) -> None:
    """Report no progress."""


@dataclass
class IngestPath:
    """Broker, database, function and bridge as processes of this machine."""

    kafka: EmbeddedKafka
    postgres: EmbeddedPostgres
    database: Database
    function: Process
    bridge: Process
    is_healthy: Callable[[], bool]

    def produce(self, values: Iterable[bytes], report: Callable[[int], None] = _ignore) -> int:
        """Write records to the topic as fast as it takes them; return their number."""
        return produce(self.kafka.bootstrap, values, report)

    def written(self) -> int:
        """Return the number of records whose rows are visible."""
        with self.database.transaction() as cursor:
            cursor.execute(
                "SELECT coalesce(sum(watches + ratings + recommendation_requests + accounts + quarantine), 0)::bigint "
                "FROM written_offsets"
            )
            return int(cursor.fetchone()[0])

    def restart_function(self) -> None:
        """Kill the function, and start it again."""
        self.function.kill()
        self.function.start()
        self.function.wait_healthy(self.is_healthy)

    def await_written(self, count: int, timeout_s: float = 300.0) -> None:
        """Wait until ``count`` records are visible. Raises ``TimeoutError``."""
        deadline = time.monotonic() + timeout_s
        while self.written() < count:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.written()} of {count} records are visible. {self.bridge.log_end()}")
            time.sleep(0.02)


def produce(
    bootstrap: str,
    values: Iterable[bytes],
    report: Callable[[int], None] = _ignore,
    *,
    options: Mapping[str, str | int] = LARGE_BATCHES,
    in_a_row: int = 1,
) -> int:
    """Write records to the topic's partitions in turn, ``in_a_row`` to each; return their number.

    ``report`` is called with the number so far, every 5,000 records.
    """
    producer = Producer({"bootstrap.servers": bootstrap, "log_level": 0, **options})
    count = 0
    for value in values:
        producer.produce(TOPIC, value, partition=count // in_a_row % PARTITIONS)
        count += 1
        if count % 5_000 == 0:
            producer.poll(0)
            report(count)
            while len(producer) > 50_000:
                producer.poll(0.01)
    if unsent := producer.flush(60):
        raise TimeoutError(f"Kafka did not accept {unsent} records within 60 s")
    return count


@contextmanager
def ingest_path() -> Iterator[IngestPath]:
    """Start broker, database and function, empty and healthy; the bridge is made but not started."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="marquee-bench-")))
        postgres = stack.enter_context(empty_database())
        kafka = stack.enter_context(EmbeddedKafka(directory / "kafka", durable=False))
        kafka.create_topic(TOPIC, PARTITIONS)
        database = stack.enter_context(closing(Database(postgres.url, connections=PARTITIONS)))
        port = free_port()
        function = _function(directory, port, postgres.url)
        stack.callback(function.stop)
        function.start()
        is_healthy = health_check(f"http://127.0.0.1:{port}/healthz")
        function.wait_healthy(is_healthy)
        bridge = bridge_process(directory, kafka.bootstrap, f"http://127.0.0.1:{port}/")
        stack.callback(bridge.stop)
        yield IngestPath(kafka, postgres, database, function, bridge, is_healthy)


def _function(directory: Path, port: int, url: str) -> Process:
    spec = read_functions(ROOT)["ingest"]
    settings = {"MARQUEE_DATABASE_URL": url} | _library_path()
    return function_instance("ingest", spec, ROOT, directory, port, settings)


def bridge_process(directory: Path, bootstrap: str, delivery_url: str) -> Process:
    """Return the bridge with its default settings, not started."""
    settings = Settings(
        kafka_bootstrap=bootstrap,
        kafka_topic=TOPIC,
        kafka_options=CONSUMER_OPTIONS,
        delivery_url=delivery_url,
    )
    main = str(ROOT / "jobs" / "bridge" / "main.py")
    return Process("bridge", [sys.executable, main], directory / "bridge.log", settings.environment() | _library_path())


def rss_mb(process: Process) -> float:
    """Return the resident memory of the process or its largest forked worker, in MB of 10^6 bytes."""
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    return max(float(member.memory_info().rss) for member in family) / 1e6


class CountingReceiver:
    """An HTTP server that accepts every batch and counts its records by their offsets."""

    def __init__(self) -> None:
        self.records = 0
        self._changed = threading.Condition()
        self._open = threading.Event()
        self._open.set()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver._open.wait()
                with receiver._changed:
                    receiver.records += body.count(b'"offset":')
                    receiver._changed.notify_all()
                self.send_response(204)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Log nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def hold(self) -> None:
        """Delay all answers until ``release``."""
        self._open.clear()

    def release(self) -> None:
        """Answer the delayed requests and all later ones."""
        self._open.set()

    def wait_for(self, count: int) -> None:
        """Wait until ``count`` records have arrived. Raises ``TimeoutError`` after a minute without any."""
        with self._changed:
            while self.records < count:
                if not self._changed.wait(60):
                    raise TimeoutError(f"{self.records} of {count} records arrived, and none for a minute")

    def close(self) -> None:
        """Stop the server."""
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def broker_and_bridge() -> Iterator[tuple[EmbeddedKafka, Process, CountingReceiver]]:
    """Start a broker and a receiver, and make a bridge between them that is not started."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="marquee-bench-")))
        kafka = stack.enter_context(EmbeddedKafka(directory, durable=False))
        kafka.create_topic(TOPIC, PARTITIONS)
        receiver = stack.enter_context(closing(CountingReceiver()))
        bridge = bridge_process(directory, kafka.bootstrap, receiver.url)
        stack.callback(bridge.stop)
        yield kafka, bridge, receiver


def _library_path() -> dict[str, str]:
    return {"PYTHONPATH": str(ROOT / "shared")}
