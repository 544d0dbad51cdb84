"""The whole system as processes of this machine, each started when the one before it is healthy."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from marquee.config.settings import Settings
from marquee.errors import ObjectNotFound
from marquee.local.embedded_kafka import CONSUMER_OPTIONS, EmbeddedKafka
from marquee.local.embedded_postgres import EmbeddedPostgres
from marquee.local.function_process import answers, instance, instance_of_several
from marquee.local.infra_spec import FunctionSpec, read_functions, read_schedules
from marquee.local.kafka_retention import KafkaRetention
from marquee.local.ports import Ports
from marquee.local.process import Process, ProcessFailed
from marquee.local.state_dir import PartState, StateDir, SystemState
from marquee.local.supervision import OneProcess, Part, Supervisor
from marquee.registry import release
from marquee.registry.object_store.connect import connect

KAFKA_PORT = 9092
POSTGRES_PORT = 54320
CUSTOMERS_PORT = 8090
DASHBOARDS_PORT = 3001
# A demo is young, so the page first shows its newest minutes.
DASHBOARDS_SPAN = "15m"
# A release is looked for more often than in the cloud, where looking costs money.
RELEASE_REFRESH_S = 2.0
BASE_DATA = "data/movielens-100k"
# The latest share of its ratings is lived again by the simulator, so the models are trained without it.
REPLAYED = 0.2
RETRAIN = "retrain"
# Where the local system puts its own parts, whatever the environment says.
PLACES = ("database_url", "objects_url", "delivery_url", "dvc_remote", "kafka_bootstrap")


@dataclass(frozen=True)
class Shape:
    """How large the local system is. ``workers``: of each function, or None for what the YAML says.

    ``customers``: whether the simulator will play the customer service, and `recommend` is to ask there.
    """

    instances: int = 1
    workers: int | None = None
    customers: bool = False


class LocalSystem:
    """``root``: the project's folder. ``say`` is told each step and event, one sentence each."""

    def __init__(
        self,
        root: Path,
        home: StateDir,
        settings: Settings,
        say: Callable[[str], None],
        shape: Shape | None = None,
    ) -> None:
        self.root = root
        self.home = home
        self.settings = replace(
            settings,
            release_refresh_s=RELEASE_REFRESH_S,
            objects_url=(home.data / "objects").resolve().as_uri(),
            dvc_remote=(home.data / "dvc").resolve().as_uri(),
            base_data=str(root / BASE_DATA),
            base_fraction=1 - REPLAYED,
            kafka_options=tuple((name, str(value)) for name, value in CONSUMER_OPTIONS.items()),
        )
        self.shape = shape or Shape()
        self._say = say
        self._ports = Ports(say)
        self._functions = read_functions(root)
        self.schedules = read_schedules(root)
        self._ready = False
        self._retention: KafkaRetention | None = None
        self.supervisor = Supervisor(say, self._write_state)

    def start(self) -> None:
        """Start everything; raises :class:`ProcessFailed` that names the part and ends with its log."""
        self._write_state()
        self._start_kafka()
        self._start_postgres()
        self.step("migrate", "migrate")
        self._start_function("ingest", self._functions["ingest"])
        self._first_model()
        if self.shape.customers:
            port = self._ports.choose("customers", CUSTOMERS_PORT)
            self.settings = replace(self.settings, customers_url=f"http://127.0.0.1:{port}")
        self._start_function("recommend", self._functions["recommend"], self.shape.instances)
        self._start_command("bridge", "bridge")
        self._start_function("monitor", self._functions["monitor"])
        self._start_scheduler()
        self._start_dashboards()
        self._ready = True
        self._write_state(self.supervisor.states())

    def stop(self) -> None:
        """Stop everything, last started first."""
        if self._retention:
            self._retention.stop()
        self.supervisor.stop()

    def step(self, name: str, *words: str) -> None:
        """Run one ``marquee`` command to its end, with its output in ``logs/<name>.log``."""
        process = self._command(name, *words)
        process.start()
        try:
            if code := process.wait():
                raise ProcessFailed(
                    f"`marquee {' '.join(words)}` ended with code {code}. {process.log_end()}"
                )
        finally:
            process.stop()

    def start_simulator(self, report: Path, *words: str) -> None:
        """Replay MovieLens's later ratings, and ask for recommendations; the account goes to ``report``."""
        places: tuple[str, ...] = ("--url", self.url("recommend"), "--report", str(report))
        data = ("--mode", "replay", "--data", self.settings.base_data, "--fraction", str(REPLAYED), "--stay")
        if self.shape.customers:
            places += ("--customers-port", str(urlsplit(self.settings.customers_url).port))
        process = self._command("simulator", "simulate", *places, *data, *words)
        # Not started again: what a second one says would not add up with the first.
        self.supervisor.start(Part("simulator", OneProcess(process), kept=False))

    def url(self, function: str) -> str:
        """Where a function listens."""
        port = next(p.port for p in self.supervisor.states() if p.name.split("-")[0] == function)
        return f"http://127.0.0.1:{port}"

    def _start_kafka(self) -> None:
        port = self._ports.choose("kafka", KAFKA_PORT)
        kafka = EmbeddedKafka(self.home.data / "kafka", durable=True, port=port, logs=self.home.logs)
        self.supervisor.start(Part("kafka", kafka, port))
        kafka.create_topic(self.settings.kafka_topic)
        self._retention = KafkaRetention(
            kafka.directory, self.settings.kafka_topic, self.settings.kafka_group
        )
        self._retention.start()
        self.settings = replace(self.settings, kafka_bootstrap=kafka.bootstrap)

    def _start_postgres(self) -> None:
        port = self._ports.choose("postgres", POSTGRES_PORT)
        postgres = EmbeddedPostgres(self.home.data / "postgres", port, logs=self.home.logs)
        self.supervisor.start(Part("postgres", postgres, port))
        self.settings = replace(self.settings, database_url=postgres.url)

    def _first_model(self) -> None:
        """A model of the base data's earlier part, unless one serves already."""
        self.step("data", "data", "fetch")
        try:
            release.read_current_release(connect(self.settings.objects_url))
        except ObjectNotFound:
            self._say("training the first model, once ...")
            self.step(RETRAIN, "retrain", "--reason", "first model")

    def _start_function(self, name: str, function: FunctionSpec, instances: int = 1) -> None:
        port = self._ports.choose(name, function.local.port)
        if name == "ingest":
            self.settings = replace(self.settings, delivery_url=f"http://127.0.0.1:{port}")
        for number in range(1, instances + 1):
            self.supervisor.start(self._instance(name, function, port, number, instances))

    def _instance(self, name: str, function: FunctionSpec, port: int, number: int, instances: int) -> Part:
        settings, workers = self.settings.environment(function.needs), self.shape.workers
        if instances == 1:
            own = port
            process = instance(
                name, function, self.root, self.home.logs, self.home.sockets, port, settings, workers
            )
        else:
            name, own = f"{name}-{number}", self._ports.choose(f"{name}-{number}'s health", port + number)
            process = instance_of_several(
                name, function, self.root, self.home.logs, (port, own), settings, workers
            )
        url = f"http://127.0.0.1:{own}"
        ready = answers(url + (function.ready or function.health))
        return Part(name, OneProcess(process, ready), port, url + function.health)

    def _start_command(self, name: str, *words: str) -> None:
        self.supervisor.start(Part(name, OneProcess(self._command(name, *words))))

    def _start_scheduler(self) -> None:
        argv = [sys.executable, "-m", "marquee.local.scheduler"]
        argv += ["--root", str(self.root), "--home", str(self.home.directory)]
        for name in sorted({schedule.function for schedule in self.schedules.values() if schedule.function}):
            argv += ["--function", f"{name}={self.url(name)}"]
        self.supervisor.start(Part("scheduler", OneProcess(self._process("scheduler", argv))))

    def _start_dashboards(self) -> None:
        port = self._ports.choose("dashboards", DASHBOARDS_PORT)
        if not self.settings.dashboards_url:  # Else it is a Grafana.
            self.settings = replace(self.settings, dashboards_url=f"http://127.0.0.1:{port}")
        words = ("--port", str(port), "--range", DASHBOARDS_SPAN, "--tell")
        process = self._command("dashboards", "dashboards", *words)
        health = f"http://127.0.0.1:{port}/healthz"
        self.supervisor.start(Part("dashboards", OneProcess(process, answers(health)), port, health))

    def _command(self, name: str, *words: str) -> Process:
        return self._process(name, [sys.executable, "-m", "marquee", *words])

    def _process(self, name: str, argv: Sequence[str]) -> Process:
        environment = self.settings.environment()
        return Process(name, argv, self.home.logs / f"{name}.log", env=environment, cwd=self.root)

    def _write_state(self, parts: tuple[PartState, ...] = ()) -> None:
        state = SystemState(os.getpid(), self._ready, parts, self.settings.environment(PLACES))
        self.home.write_state(state)
