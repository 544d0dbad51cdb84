"""The whole system as local processes, each started when the one before it is healthy."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from marquee.bridge.kafka_client import TopicIds
from marquee.config.settings import PREFIX, Settings
from marquee.errors import KafkaUnavailable
from marquee.local.embedded_kafka import CONSUMER_OPTIONS, EmbeddedKafka
from marquee.local.embedded_postgres import EmbeddedPostgres
from marquee.local.function_process import function_instance, health_check, shared_port_instance
from marquee.local.infra_spec import FunctionSpec, read_functions, read_schedules
from marquee.local.kafka_retention import KafkaRetention
from marquee.local.ports import Ports
from marquee.local.process import Process, ProcessFailed
from marquee.local.state_dir import PartState, StateDir, SystemState
from marquee.local.supervision import Part, ProcessProgram, Supervisor
from marquee.local.unread_records import unread_age_s
from marquee.registry import release
from marquee.registry.object_store.connect import connect

KAFKA_PORT = 9092
POSTGRES_PORT = 54320
CUSTOMER_SERVICE_PORT = 8090
DASHBOARDS_PORT = 3001
# A demo is short, so the page shows the newest minutes first.
DASHBOARDS_SPAN = "15m"
# More often than in the cloud, where each check costs money.
RELEASE_REFRESH_S = 2.0
BASE_DATA = "data/movielens-100k"
# The simulator replays the latest fraction of the ratings, so the models are trained without it.
REPLAY_FRACTION = 0.2
RETRAIN = "retrain"
# The locations of the local system's own parts, which override the environment.
LOCATION_SETTINGS = ("database_url", "objects_url", "delivery_url", "dvc_remote", "kafka_bootstrap")
# Settings with which other processes find and use them.
_ENVIRONMENT_SETTINGS = (*LOCATION_SETTINGS, "kafka_topic", "kafka_group")
# The broker in memory frees nothing by itself: from here on its topic is replaced by an empty one.
KAFKA_MEMORY_MB = 1_000.0
# Without records for this long, no producer is about to write.
IDLE_S = 4.0
# Time for the last records at the end.
DRAIN_S = 15.0


@dataclass(frozen=True)
class Shape:
    """The size of the local system.

    Attributes
    ----------
    instances
        Instances of `recommend` on one port.
    workers
        Workers of each function; None: as in `infra/functions.yaml`.
    customer_service
        The simulator will run the customer service, and `recommend` uses it.
    durable_kafka
        Keep Kafka's log on disk instead of in memory; slower with a backlog.
    """

    instances: int = 1
    workers: int | None = None
    customer_service: bool = False
    durable_kafka: bool = False


class LocalSystem:
    """The local system of the project in ``root``; ``notify`` is called with a sentence for each event."""

    def __init__(
        self,
        root: Path,
        state_dir: StateDir,
        settings: Settings,
        notify: Callable[[str], None],
        shape: Shape | None = None,
    ) -> None:
        self.root = root
        self.state_dir = state_dir
        self.settings = replace(
            settings,
            release_refresh_s=RELEASE_REFRESH_S,
            objects_url=(state_dir.data / "objects").resolve().as_uri(),
            dvc_remote=(state_dir.data / "dvc").resolve().as_uri(),
            base_data=str(root / BASE_DATA),
            base_fraction=1 - REPLAY_FRACTION,
            kafka_options=tuple((name, str(value)) for name, value in CONSUMER_OPTIONS.items()),
        )
        self.shape = shape or Shape()
        self._notify = notify
        self._ports = Ports(notify)
        self._functions = read_functions(root)
        self.schedules = read_schedules(root)
        self._ready = False
        self._retention: KafkaRetention | None = None
        self._kafka: EmbeddedKafka | None = None
        self.supervisor = Supervisor(notify, self._write_state)

    def start(self) -> None:
        """Start all parts. Raises :class:`ProcessFailed`, with the end of the part's log, if a part fails."""
        self._write_state()
        self._start_kafka()
        self._start_postgres()
        self.run_command("migrate", "migrate")
        self._start_function("ingest", self._functions["ingest"])
        self._train_first_model()
        if self.shape.customer_service:
            port = self._ports.choose("customer service", CUSTOMER_SERVICE_PORT)
            self.settings = replace(self.settings, customers_url=f"http://127.0.0.1:{port}")
        self._start_function("recommend", self._functions["recommend"], self.shape.instances)
        self._start_bridge()
        self._start_function("monitor", self._functions["monitor"])
        self._start_scheduler()
        self._start_dashboards()
        self._ready = True
        self._write_state(self.supervisor.states())

    def stop(self) -> None:
        """Stop all parts in reverse order."""
        self._drain_memory()
        if self._retention:
            self._retention.stop()
        self.supervisor.stop()

    def run_command(self, name: str, *arguments: str) -> None:
        """Run one ``marquee`` command to its end, with its output in ``logs/<name>.log``."""
        process = self._command(name, *arguments)
        process.start()
        try:
            if code := process.wait():
                raise ProcessFailed(
                    f"`marquee {' '.join(arguments)}` ended with code {code}. {process.log_end()}"
                )
        finally:
            process.stop()

    def start_simulator(self, report: Path, *arguments: str) -> None:
        """Replay MovieLens's later ratings and request recommendations; write the report to ``report``."""
        replay = ["--mode", "replay", "--data", self.settings.base_data, "--fraction", str(REPLAY_FRACTION)]
        replay += ["--keep-running", "--url", self.url("recommend"), "--report", str(report)]
        if self.shape.customer_service:
            replay += ["--customer-service-port", str(urlsplit(self.settings.customers_url).port)]
        process = self._command("simulator", "simulate", *replay, *arguments)
        # Not restarted: the report of a second run would not add up with the first.
        self.supervisor.start(Part("simulator", ProcessProgram(process), supervised=False))

    def url(self, function: str) -> str:
        """Return the URL of a function."""
        port = next(p.port for p in self.supervisor.states() if p.name.split("-")[0] == function)
        return f"http://127.0.0.1:{port}"

    @property
    def kafka_restarts(self) -> int:
        """The restarts of a broker in memory, each of which lost its records; 0 for a durable broker."""
        if self.shape.durable_kafka:
            return 0
        return sum(part.restarts for part in self.supervisor.states() if part.name == "kafka")

    def is_kafka_full(self) -> bool:
        """Return True if the broker in memory has reached :data:`KAFKA_MEMORY_MB`."""
        kafka = self._kafka
        return kafka is not None and not kafka.durable and kafka.memory_mb > KAFKA_MEMORY_MB

    def topic_id(self) -> str:
        """Return the id of the topic of the event log; raise :class:`KafkaUnavailable`."""
        topic = self.settings.kafka_topic
        if found := TopicIds(self.settings).id(topic):
            return found
        raise KafkaUnavailable(
            f"Kafka at {self.settings.kafka_bootstrap} does not tell the id of topic {topic}"
        )

    def hand_over(self) -> None:
        """Replace the topic by an empty one, which frees the broker's memory. All its records must be written.

        The bridge is stopped meanwhile: its client cannot lose a topic that it reads.
        """
        assert self._kafka is not None
        self.supervisor.stop("bridge")
        self._kafka.recreate_topic(self.settings.kafka_topic)
        self._start_bridge()
        self._notify("Kafka's topic was replaced by an empty one: everything in it is written")

    def hand_over_if_idle(self) -> bool:
        """Call :meth:`hand_over` if the broker's memory is full and no record arrived for :data:`IDLE_S`."""
        if not self.is_kafka_full():
            return False
        for _ in range(2):
            if unread_age_s(self.settings) > 0:
                return False
            time.sleep(IDLE_S / 2)
        self.hand_over()
        return True

    def _drain_memory(self) -> None:
        """Give the bridge time to write the records that end with the broker in memory."""
        if not self._ready or self._kafka is None or self._kafka.durable:
            return
        deadline = time.monotonic() + DRAIN_S
        try:
            while (age_s := unread_age_s(self.settings)) and time.monotonic() < deadline:
                time.sleep(0.2)
        except KafkaUnavailable as error:
            self._notify(f"unread records end with the broker in memory: {error}")
            return
        if age_s:
            self._notify(
                f"unread records end with the broker in memory, the oldest {age_s:.0f} s old: "
                "`--durable-kafka` keeps them"
            )

    def _start_kafka(self) -> None:
        port = self._ports.choose("kafka", KAFKA_PORT)
        topic = self.settings.kafka_topic
        kafka = self._kafka = EmbeddedKafka(
            self.state_dir.data / "kafka",
            durable=self.shape.durable_kafka,
            port=port,
            logs=self.state_dir.logs,
            topic=topic,
        )
        self.supervisor.start(Part("kafka", kafka, port))
        if kafka.durable:
            self._retention = KafkaRetention(kafka.directory, topic, self.settings.kafka_group)
            self._retention.start()
        self.settings = replace(self.settings, kafka_bootstrap=kafka.bootstrap)

    def _start_postgres(self) -> None:
        port = self._ports.choose("postgres", POSTGRES_PORT)
        postgres = EmbeddedPostgres(self.state_dir.data / "postgres", port, logs=self.state_dir.logs)
        self.supervisor.start(Part("postgres", postgres, port))
        self.settings = replace(self.settings, database_url=postgres.url)

    def _train_first_model(self) -> None:
        """Train a model of the earlier base data, unless a release exists."""
        self.run_command("data", "data", "fetch")
        if release.find_serving_release(connect(self.settings.objects_url)) is None:
            self._notify("training the first model ...")
            self.run_command(RETRAIN, "retrain", "--reason", "first model")

    def _start_function(self, name: str, function: FunctionSpec, instances: int = 1) -> None:
        port = self._ports.choose(name, function.local.port)
        if name == "ingest":
            self.settings = replace(self.settings, delivery_url=f"http://127.0.0.1:{port}")
        for number in range(1, instances + 1):
            self.supervisor.start(self._instance(name, function, port, number, instances))

    def _instance(self, name: str, function: FunctionSpec, port: int, number: int, instances: int) -> Part:
        settings, workers = self.settings.environment(function.needs), self.shape.workers
        if instances == 1:
            own_port = port
            process = function_instance(
                name,
                function,
                self.root,
                self.state_dir.logs,
                self.state_dir.sockets,
                port,
                settings,
                workers,
            )
        else:
            name, own_port = (
                f"{name}-{number}",
                self._ports.choose(f"{name}-{number}'s health", port + number),
            )
            process = shared_port_instance(
                name, function, self.root, self.state_dir.logs, (port, own_port), settings, workers
            )
        url = f"http://127.0.0.1:{own_port}"
        healthy = health_check(url + (function.ready or function.health))
        return Part(name, ProcessProgram(process, healthy), port, url + function.health)

    def _start_bridge(self) -> None:
        heartbeat = self.state_dir.sockets / "bridge.heartbeat"
        heartbeat.unlink(missing_ok=True)
        process = self._command("bridge", "bridge")
        process.env = {**process.env, f"{PREFIX}HEALTH_FILE": str(heartbeat)}
        self.supervisor.start(Part("bridge", ProcessProgram(process), heartbeat=heartbeat))

    def _start_scheduler(self) -> None:
        argv = [sys.executable, "-m", "marquee.local.scheduler"]
        argv += ["--root", str(self.root), "--state-dir", str(self.state_dir.directory)]
        for name in sorted({schedule.function for schedule in self.schedules.values() if schedule.function}):
            argv += ["--function", f"{name}={self.url(name)}"]
        self.supervisor.start(Part("scheduler", ProcessProgram(self._process("scheduler", argv))))

    def _start_dashboards(self) -> None:
        port = self._ports.choose("dashboards", DASHBOARDS_PORT)
        # If the URL is set, it is a Grafana's.
        if not self.settings.dashboards_url:
            self.settings = replace(self.settings, dashboards_url=f"http://127.0.0.1:{port}")
        arguments = ("--port", str(port), "--range", DASHBOARDS_SPAN, "--tell")
        process = self._command("dashboards", "dashboards", *arguments)
        health = f"http://127.0.0.1:{port}/healthz"
        self.supervisor.start(Part("dashboards", ProcessProgram(process, health_check(health)), port, health))

    def _command(self, name: str, *arguments: str) -> Process:
        return self._process(name, [sys.executable, "-m", "marquee", *arguments])

    def _process(self, name: str, argv: Sequence[str]) -> Process:
        environment = self.settings.environment()
        return Process(name, argv, self.state_dir.logs / f"{name}.log", env=environment, cwd=self.root)

    def _write_state(self, parts: tuple[PartState, ...] = ()) -> None:
        environment = self.settings.environment(_ENVIRONMENT_SETTINGS)
        in_memory = self._kafka is not None and not self._kafka.durable
        state = SystemState(os.getpid(), self._ready, parts, environment, in_memory)
        self.state_dir.write_state(state)
