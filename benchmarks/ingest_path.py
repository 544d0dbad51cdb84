"""The way from Kafka to the tables as processes, and realistic lines to send down it."""

from __future__ import annotations

import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
from confluent_kafka import Producer

from marquee.config.settings import Settings
from marquee.db.migrate import migrate
from marquee.db.pool import Database
from marquee.local.embedded_kafka import CONSUMER_OPTIONS, EmbeddedKafka
from marquee.local.embedded_postgres import EmbeddedPostgres
from marquee.local.function_process import answers, instance
from marquee.local.infra_spec import read_functions
from marquee.local.process import Process, free_port

ROOT = Path(__file__).parents[1]
TOPIC, PARTITIONS = "movielog", 2
STREAM_LINES_PER_S = 1_580
# Everybody who watches sends a line a minute.
VIEWERS = STREAM_LINES_PER_S * 60
MOVIES = 27_278
_START = datetime(2026, 11, 14, 12, 0)


def lines(count: int, seed: int = 1) -> Iterator[bytes]:
    """The real stream, as it would be met after an outage: one line a viewer and minute, 98 % of them watches."""
    chance = random.Random(seed)
    viewers = [(chance.randrange(1, 1_000_000), _movie(chance), chance.randrange(60)) for _ in range(VIEWERS)]
    for number in range(count):
        at = _START + timedelta(seconds=number / STREAM_LINES_PER_S)
        stamp = at.isoformat(timespec="milliseconds")
        user, movie, minute = viewers[number % VIEWERS]
        kind = chance.random()
        if kind < 0.98:
            yield f"{stamp},{user},GET /data/m/{movie}/{minute + number // VIEWERS}.mpg".encode()
        elif kind < 0.99:
            yield f"{stamp},{user},GET /rate/{movie}={chance.randint(1, 5)}".encode()
        elif kind < 0.999:
            answer = f"status 200, result: {', '.join([movie] * 20)}, 31 ms"
            yield f"{stamp},{user},recommendation request 127.0.0.1:8082, {answer}".encode()
        else:
            yield f"{stamp},{user},GZET /data/m/{movie}/1.mpg".encode()


def _movie(chance: random.Random) -> str:
    number = chance.randrange(MOVIES)
    return f"the+film+number+{number}+{1920 + number % 100}"


@dataclass
class IngestPath:
    """Broker, database, function and bridge on this machine."""

    kafka: EmbeddedKafka
    postgres: EmbeddedPostgres
    database: Database
    function: Process
    bridge: Process
    _ends: ExitStack = field(default_factory=ExitStack)

    def produce(self, values: Iterable[bytes], told: Callable[[int], None] = lambda count: None) -> int:
        """Write lines to the topic, as fast as it takes them; returns how many."""
        return produce(self.kafka.bootstrap, values, told)

    def written(self) -> int:
        """Lines whose rows are visible."""
        with self.database.transaction() as cursor:
            cursor.execute(
                "SELECT coalesce(sum(watches + ratings + recommendation_requests + accounts + quarantine), 0)::bigint "
                "FROM written_offsets"
            )
            return int(cursor.fetchone()[0])

    def await_written(self, count: int, patience_s: float = 300.0) -> None:
        deadline = time.monotonic() + patience_s
        while self.written() < count:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.written()} of {count} lines. {self.bridge.log_end()}")
            time.sleep(0.02)


def produce(bootstrap: str, values: Iterable[bytes], told: Callable[[int], None] = lambda count: None) -> int:
    """Write lines to the topic's partitions in turn; returns how many there were."""
    producer = Producer(
        {"bootstrap.servers": bootstrap, "linger.ms": 50, "batch.size": 500_000, "log_level": 0}
    )
    count = 0
    for value in values:
        producer.produce(TOPIC, value, partition=count % PARTITIONS)
        count += 1
        if count % 5_000 == 0:
            producer.poll(0)
            told(count)
            while len(producer) > 50_000:
                producer.poll(0.01)
    if left := producer.flush(60):
        raise TimeoutError(f"Kafka did not take {left} lines")
    return count


@contextmanager
def ingest_path() -> Iterator[IngestPath]:
    """Everything, healthy and empty; the bridge is not started yet."""
    with ExitStack() as ends:
        directory = Path(ends.enter_context(tempfile.TemporaryDirectory(prefix="marquee-bench-")))
        directory.chmod(0o755)
        postgres = ends.enter_context(EmbeddedPostgres(directory / "postgres"))
        migrate(postgres.url)
        kafka = ends.enter_context(EmbeddedKafka(directory / "kafka", durable=False))
        kafka.create_topic(TOPIC, PARTITIONS)
        database = ends.enter_context(closing(Database(postgres.url, connections=PARTITIONS)))
        port = free_port()
        function = _function(directory, port, postgres.url)
        ends.callback(function.stop)
        function.start()
        function.wait_healthy(answers(f"http://127.0.0.1:{port}/healthz"))
        bridge = bridge_process(directory, kafka.bootstrap, f"http://127.0.0.1:{port}/")
        ends.callback(bridge.stop)
        yield IngestPath(kafka, postgres, database, function, bridge)


def _function(directory: Path, port: int, url: str) -> Process:
    described = read_functions(ROOT)["ingest"]
    settings = {"MARQUEE_DATABASE_URL": url, "MARQUEE_DATABASE_CONNECTIONS": "2"} | _library()
    return instance("ingest", described, ROOT, directory, directory / "sockets", port, settings)


def bridge_process(directory: Path, bootstrap: str, delivery_url: str) -> Process:
    """The bridge as it is deployed, with its settings as they are."""
    settings = Settings(
        kafka_bootstrap=bootstrap,
        kafka_topic=TOPIC,
        kafka_options=tuple((name, str(value)) for name, value in CONSUMER_OPTIONS.items()),
        delivery_url=delivery_url,
    )
    main = str(ROOT / "jobs" / "bridge" / "main.py")
    return Process(
        "bridge", [sys.executable, main], directory / "bridge.log", settings.environment() | _library()
    )


def rss_mb(process: Process) -> float:
    """Resident memory of the process, or of the worker that it has forked, in MB of 10^6."""
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    return max(float(member.memory_info().rss) for member in family) / 1e6


class CountingReceiver:
    """Takes every batch, and counts the lines by looking for their offsets."""

    def __init__(self) -> None:
        self.lines = 0
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
                    receiver.lines += body.count(b'"offset":')
                    receiver._changed.notify_all()
                self.send_response(204)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Silent."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def hold(self) -> None:
        """Answer nobody until ``release``."""
        self._open.clear()

    def release(self) -> None:
        self._open.set()

    def wait_for(self, count: int) -> None:
        with self._changed:
            while self.lines < count:
                if not self._changed.wait(60):
                    raise TimeoutError(f"{self.lines} of {count} lines, and none for a minute")

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def broker_and_bridge() -> Iterator[tuple[EmbeddedKafka, Process, CountingReceiver]]:
    """A bridge that is not started yet, between a broker and a receiver that takes everything."""
    with ExitStack() as ends:
        directory = Path(ends.enter_context(tempfile.TemporaryDirectory(prefix="marquee-bench-")))
        kafka = ends.enter_context(EmbeddedKafka(directory, durable=False))
        kafka.create_topic(TOPIC, PARTITIONS)
        receiver = ends.enter_context(closing(CountingReceiver()))
        bridge = bridge_process(directory, kafka.bootstrap, receiver.url)
        ends.callback(bridge.stop)
        yield kafka, bridge, receiver


def _library() -> dict[str, str]:
    return {"PYTHONPATH": str(ROOT / "shared")}
