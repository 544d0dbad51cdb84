"""App: cold start, memory, size of a first visit, analytics under failures, and latency from tap to row."""

from __future__ import annotations

import http.client
import statistics
import sys
import tempfile
import time
import urllib.parse
from collections.abc import Iterable
from pathlib import Path

import msgspec

from benchmarks.app_browser import measure_first_visit, run_phone, send_through_failures
from benchmarks.app_kills import app_process, restart_function, use_through_kills
from benchmarks.app_parts import MOVIES, run_parts
from benchmarks.bench_serving import start_ratio, time_starts
from benchmarks.ingest_path import ROOT, TOPIC, IngestPath, ingest_path
from benchmarks.load import load
from benchmarks.registry import BenchmarkResult, at_most, benchmark, is_full_run
from benchmarks.serving import run_hello_world
from marquee.local.process import Process, free_port, port_open
from marquee.simulate.catalog import SyntheticCatalog
from marquee.simulate.report import SimulationReport

COLD_ROUNDS, CONNECTIONS = 10, 8
CHANGES, KILLS, SIGKILLS = 200, 4, 20
TAPS, PLAYED = 15, 12
SIMULATED_MOVIES = 60


@benchmark("app_cold_ratio", "app_rss_mb")
def start() -> Iterable[BenchmarkResult]:
    """Start the app and hello-world alternately, each until its first page; then load one instance."""
    with run_parts() as parts:
        app, hello = time_starts(parts.run_app, run_hello_world, COLD_ROUNDS, "/")
        yield start_ratio("app_cold_ratio", 1.6, app, hello, "hello-world")
        with parts.run_app() as instance:
            instance.first_answer_ms("/")
            load(instance.port, _any_path, connections=CONNECTIONS, seconds=5.0)
            mb = instance.resident_mb()
    yield at_most("app_rss_mb", mb, "MB", 150, reference="PSS of both processes after 5 s of load on posters and files")


def _any_path(number: int) -> str:
    movie = urllib.parse.quote(MOVIES[number % len(MOVIES)], safe="")
    return ("/search?q=movie", f"/poster/{movie}.svg", "/offline", "/manifest.webmanifest")[number % 4]


@benchmark("app_first_visit_kb", "app_events_lost", "app_events_doubled", full=True)
def browser() -> Iterable[BenchmarkResult]:
    """Visit the app in Chromium; then change pages during failures of the network and of MongoDB."""
    with run_parts() as parts, parts.run_app() as instance, run_phone() as context:
        instance.first_answer_ms("/healthz")
        url = f"http://127.0.0.1:{instance.port}"
        visit = measure_first_visit(context, url) / 1000
        yield at_most("app_first_visit_kb", visit, "kB", 60, reference="bytes received, without compression")
        changes = CHANGES if is_full_run() else CHANGES // 4
        counts = send_through_failures(context, parts, url, changes, KILLS)
    reference = f"{counts.numbered} events over {changes} page changes, each batch sent twice, {KILLS} kills of MongoDB"
    yield at_most("app_events_lost", counts.numbered - counts.different, "events", 0, reference=reference)
    yield at_most("app_events_doubled", counts.stored - counts.different, "events", 0, reference=reference)


@benchmark("tap_to_row_s")
def tap() -> Iterable[BenchmarkResult]:
    """Rate movies in the app; measure the time until a query sees the row, via movie service and Kafka."""
    with ingest_path() as path, run_parts() as parts, tempfile.TemporaryDirectory() as folder:
        path.bridge.start()
        port = free_port()
        simulator = _simulator(Path(folder), path.kafka.bootstrap, port)
        simulator.start()
        try:
            simulator.wait_healthy(lambda: port_open(port))
            with parts.run_app(f"http://127.0.0.1:{port}") as instance:
                instance.first_answer_ms("/healthz")
                times = _tap_and_play(path, Phone(instance.port))
        finally:
            simulator.stop()
    reference = f"median of {TAPS} ratings, the largest {max(times):.2f} s; {PLAYED} played minutes are {PLAYED} rows"
    yield at_most("tap_to_row_s", statistics.median(times), "s", 2.0, reference=reference)


@benchmark("app_kill_losses")
def kills() -> Iterable[BenchmarkResult]:
    """Use the app while the app, MongoDB and ``ingest`` are killed in turn; count events and rows exactly."""
    with ingest_path() as path, run_parts() as parts, tempfile.TemporaryDirectory() as folder:
        path.bridge.start()
        port, movies = free_port(), free_port()
        simulator = _simulator(Path(folder), path.kafka.bootstrap, movies)
        app = app_process(Path(folder), port, parts.settings(f"http://127.0.0.1:{movies}"))
        simulator.start()
        app.start()
        try:
            simulator.wait_healthy(lambda: port_open(movies))
            app.wait_healthy(lambda: port_open(port))
            restarts = [lambda: restart_function(app, port), parts.restart_mongo, path.restart_function]
            counts = use_through_kills(parts, port, _rating_paths(), restarts, SIGKILLS)
            simulator.stop()  # Writes its last records, and counts them.
            records = msgspec.json.decode(_report(Path(folder)).read_bytes(), type=SimulationReport).acknowledged
            path.await_written(records)
            rows = path.written()
        finally:
            app.stop()
            simulator.stop()
    lost, doubled = counts.numbered - counts.different, counts.stored - counts.different
    reference = (
        f"{counts.kills} SIGKILLs of the app, MongoDB and ingest in turn; of {counts.numbered} events {lost} are lost "
        f"and {doubled} doubled; {counts.rated} confirmed ratings, {records} records in Kafka, {rows} rows"
    )
    losses = lost + doubled + abs(records - rows) + max(0, counts.rated - rows)
    yield at_most("app_kill_losses", losses, "events", 0, reference=reference)


def _rating_paths() -> list[str]:
    catalog = SyntheticCatalog(SIMULATED_MOVIES, 1)
    movie_ids = [catalog.movie_id(number) for number in range(SIMULATED_MOVIES)]
    return [f"/movie/{urllib.parse.quote(movie_id, safe='')}/rating" for movie_id in movie_ids]


class Phone:
    """A visitor of the app on ``port`` without a browser, who retries until the movie service is ready."""

    def __init__(self, port: int) -> None:
        self._port, self._cookie = port, ""
        deadline = time.monotonic() + 60
        while not self._cookie:
            status, headers = self.send("GET", "/")
            self._cookie = headers.get("Set-Cookie", "").split(";")[0]
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"the app on port {port} answered {status} without a cookie: check the movie service"
                )

    def send(self, method: str, path: str, body: str = "") -> tuple[int, dict[str, str]]:
        """Send a request; return status and headers."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        connection.request(method, path, body, {"Cookie": self._cookie, "Sec-Fetch-Site": "same-origin"})
        response = connection.getresponse()
        response.read()
        connection.close()
        return response.status, dict(response.getheaders())


def _simulator(folder: Path, bootstrap: str, port: int) -> Process:
    """Return a simulator that writes only records of the app's users."""
    argv = [sys.executable, "-m", "marquee", "simulate", "--mode", "synthetic", "--movies", str(SIMULATED_MOVIES)]
    argv += ["--kafka", bootstrap, "--topic", TOPIC, "--records-per-second", "0", "--customer-service-port", str(port)]
    argv += ["--report", str(_report(folder))]
    env = {"PYTHONPATH": str(ROOT / "shared")}
    return Process("simulator", argv, folder / "simulator.log", env, cwd=ROOT)


def _report(folder: Path) -> Path:
    return folder / "report.json"


def _tap_and_play(path: IngestPath, phone: Phone) -> list[float]:
    """Return the seconds from each tap to its row.

    Raises ``RuntimeError`` if a rating fails, or if the played minutes are not one row each.
    """
    paths = _rating_paths()[:TAPS]
    times = []
    for rating in paths:
        before = path.written()
        began = time.monotonic()
        status, _ = phone.send("POST", rating, "rating=5")
        if status != 303:
            raise RuntimeError(f"a rating was answered with {status}")
        path.await_written(before + 1)
        times.append(time.monotonic() - began)
    before = path.written()
    for minute in range(PLAYED):
        phone.send("POST", f"{paths[0].replace('/movie/', '/watch/').removesuffix('/rating')}/{minute}")
    path.await_written(before + PLAYED)
    watched = path.database.read("SELECT count(*), count(DISTINCT minute) FROM watches", deadline_ms=10_000)
    sessions = path.database.read("SELECT count(*) FROM watch_sessions", deadline_ms=10_000)
    if watched != [(PLAYED, PLAYED)] or sessions != [(1,)]:
        raise RuntimeError(f"{PLAYED} minutes were played, but there are {watched} watches and {sessions} sessions")
    return times
