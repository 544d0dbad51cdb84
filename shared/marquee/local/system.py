"""The whole system as local processes, each started when the one before it is healthy."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from marquee.bridge.kafka_client import TopicIds
from marquee.config.kafka_options import consumer_group
from marquee.config.settings import Settings
from marquee.errors import KafkaUnavailable
from marquee.local.embedded_kafka import EmbeddedKafka
from marquee.local.embedded_mongo import EmbeddedMongo
from marquee.local.embedded_postgres import EmbeddedPostgres
from marquee.local.function_process import function_parts, health_check
from marquee.local.infra_spec import FunctionSpec, read_functions, read_schedules
from marquee.local.kafka_memory import KAFKA_MEMORY_MB, is_idle, wait_until_read
from marquee.local.kafka_retention import KafkaRetention
from marquee.local.local_settings import ENVIRONMENT_SETTINGS, REPLAY_FRACTION, admit_own_parts, localize, use_sources
from marquee.local.ports import Ports
from marquee.local.process import Process, ProcessFailed
from marquee.local.shape import Shape
from marquee.local.state_dir import PartState, StateDir, SystemState
from marquee.local.supervision import Part, Supervisor
from marquee.registry import release
from marquee.registry.object_store.connect import connect

KAFKA_PORT = 9092
POSTGRES_PORT = 54320
MONGO_PORT = 27017
CUSTOMER_SERVICE_PORT = 8090
DASHBOARDS_PORT = 3001
# A demo is short, so the page shows the newest minutes first.
DASHBOARDS_SPAN = "15m"
RETRAIN, MIGRATE = "retrain", "migrate"


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
        self.shape = shape or Shape()
        self.settings = use_sources(admit_own_parts(localize(settings, state_dir), self.shape), root, self.shape)
        self._database_urls: dict[str, str] = {}
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
        with self._step("the event log: a Kafka broker"):
            self._start_kafka()
        with self._step("the database: PostgreSQL and its tables"):
            self._start_postgres()
            if self.shape.app:
                self._start_mongo()
            self.run_command(MIGRATE, MIGRATE)
            self._database_urls |= self._postgres.create_logins()
        with self._step("ingest, which writes the event log to the database"):
            self._start_function("ingest", self._functions["ingest"])
        with self._step("events, which takes events of apps over HTTP"):
            self._start_function("events", self._functions["events"])
        self._train_first_model()
        if self.shape.customer_service:
            port = self._ports.choose("customer service", CUSTOMER_SERVICE_PORT)
            self.settings = replace(self.settings, customers_url=f"http://127.0.0.1:{port}")
        with self._step("recommend, which answers with movies"):
            self._start_function("recommend", self._functions["recommend"], self.shape.instances)
        if self.shape.app:
            with self._step("the app"):
                self._start_app()
        with self._step("the bridge, monitor, scheduler and dashboards"):
            self._start_bridge()
            self._start_function("monitor", self._functions["monitor"])
            self._start_scheduler()
            self._start_dashboards()
        self._ready = True
        self._write_state(self.supervisor.states())

    def stop(self) -> None:
        """Stop all parts in reverse order."""
        if self._ready and self._kafka is not None and not self._kafka.durable:
            wait_until_read(self.settings, self._notify)
        if self._retention:
            self._retention.stop()
        self.supervisor.stop()
        self._ports.release()

    def run_command(self, name: str, *arguments: str) -> None:
        """Run one ``marquee`` command to its end, with its output in ``logs/<name>.log``."""
        process = self._command(name, *arguments)
        process.start()
        try:
            if code := process.wait():
                raise ProcessFailed(f"`marquee {' '.join(arguments)}` ended with code {code}. {process.log_end()}")
        finally:
            process.stop()

    def start_simulator(self, report: Path, *arguments: str) -> None:
        """Replay the later ratings of the base data and request recommendations; write the report to ``report``."""
        replay = ["--mode", "replay", "--data", self.settings.base_data, "--fraction", str(REPLAY_FRACTION)]
        replay += ["--keep-running", "--url", self.url("recommend"), "--report", str(report)]
        if self.shape.customer_service:
            replay += ["--customer-service-port", str(urlsplit(self.settings.customers_url).port)]
        process = self._command("simulator", "simulate", *replay, *arguments)
        # Not restarted: the report of a second run would not add up with the first.
        self.supervisor.start(Part("simulator", process, supervised=False))

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
        raise KafkaUnavailable(f"Kafka at {self.settings.kafka_bootstrap} does not report the id of topic {topic}")

    def hand_over(self) -> None:
        """Replace the topic by an empty one, which frees the broker's memory. All its records must be written.

        The bridge is stopped during the replacement, because its client may crash if a topic that it reads is deleted.
        """
        assert self._kafka is not None
        self.supervisor.stop("bridge")
        self._kafka.recreate_topic(self.settings.kafka_topic)
        self._start_bridge()
        self._notify("Kafka's topic was replaced by an empty one: everything in it is written")

    def hand_over_if_idle(self) -> bool:
        """Call :meth:`hand_over` if the broker's memory is full and no record arrived for :data:`IDLE_S`."""
        if not (self.is_kafka_full() and is_idle(self.settings)):
            return False
        self.hand_over()
        return True

    @contextmanager
    def _step(self, text: str) -> Iterator[None]:
        """Report a step of the start when it begins, and its duration when it ends."""
        self._notify(f"starting {text} ...")
        began = time.monotonic()
        yield
        self._notify(f"  done in {time.monotonic() - began:.1f} s")

    def _start_kafka(self) -> None:
        if self.shape.kafka:
            self.settings = replace(self.settings, kafka_bootstrap=self.shape.kafka)
            self._notify(f"reading topic {self.settings.kafka_topic} of the Kafka at {self.shape.kafka}")
            return
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
            self._retention = KafkaRetention(kafka.directory, topic, consumer_group(self.settings))
            self._retention.start()
        self.settings = replace(self.settings, kafka_bootstrap=kafka.bootstrap)

    def _start_postgres(self) -> None:
        port = self._ports.choose("postgres", POSTGRES_PORT)
        self._postgres = EmbeddedPostgres(self.state_dir.data / "postgres", port, logs=self.state_dir.logs)
        self.supervisor.start(Part("postgres", self._postgres, port))
        self.settings = replace(self.settings, database_url=self._postgres.url)
        self._database_urls[MIGRATE] = self._postgres.url

    def _start_mongo(self) -> None:
        port = self._ports.choose("mongo", MONGO_PORT)
        mongo = EmbeddedMongo(self.state_dir.data / "mongo", port, logs=self.state_dir.logs)
        self.supervisor.start(Part("mongo", mongo, port))
        self.settings = replace(self.settings, documents_url=mongo.url)

    def _start_app(self) -> None:
        recommend, movies = self.url("recommend"), self.settings.customers_url
        self.settings = replace(self.settings, recommend_url=recommend, movies_url=movies)
        self._start_function("app", self._functions["app"])

    def _train_first_model(self) -> None:
        """Train a model of the earlier base data, unless a release exists."""
        if not self.shape.base:
            self._notify("no base data: `recommend` answers with popular movies until a retraining")
            return
        if self.shape.ratings is None:
            with self._step("the download of MovieLens 100K (5 MB), unless it is there"):
                self.run_command("data", "data", "fetch")
        if release.find_serving_release(connect(self.settings.objects_url)) is None:
            with self._step("the training of the first model, which takes a minute or two"):
                self.run_command(RETRAIN, "retrain", "--reason", "first model")

    def _start_function(self, name: str, function: FunctionSpec, instances: int = 1) -> None:
        port = self._ports.choose(name, function.local.port)
        if name == "ingest":
            self.settings = replace(self.settings, delivery_url=f"http://127.0.0.1:{port}")
        for part in function_parts(
            name,
            function,
            self.root,
            self.state_dir.logs,
            port,
            self._ports,
            self._settings_of(name).environment(function.needs),
            self.shape,
            instances,
        ):
            self.supervisor.start(part)

    def _start_bridge(self) -> None:
        heartbeat = self.state_dir.runs / "bridge.heartbeat"
        heartbeat.unlink(missing_ok=True)
        process = self._command("bridge", "bridge", "--health-file", str(heartbeat))
        self.supervisor.start(Part("bridge", process, heartbeat=heartbeat))

    def _start_scheduler(self) -> None:
        argv = [sys.executable, "-m", "marquee.local.scheduler"]
        argv += ["--root", str(self.root), "--state-dir", str(self.state_dir.directory)]
        for name in sorted({schedule.function for schedule in self.schedules.values() if schedule.function}):
            argv += ["--function", f"{name}={self.url(name)}"]
        for name in sorted({schedule.part for schedule in self.schedules.values() if not schedule.function}):
            argv += ["--database", f"{name}={self._database_urls[name]}"]
        self.supervisor.start(Part("scheduler", self._process("scheduler", argv)))

    def _start_dashboards(self) -> None:
        port = self._ports.choose("dashboards", DASHBOARDS_PORT)
        arguments = ["--port", str(port), "--range", DASHBOARDS_SPAN, "--post-alerts"]
        arguments += ["--recommend", self.url("recommend"), "--events", self.url("events")]
        process = self._command("dashboards", "dashboards", *arguments)
        process.env = {**process.env, "PLAYGROUND_KEY": self.settings.recommend_key}
        health = f"http://127.0.0.1:{port}/healthz"
        process.healthy = health_check(health)
        self.supervisor.start(Part("dashboards", process, port, health))

    def _command(self, name: str, *arguments: str) -> Process:
        return self._process(name, [sys.executable, "-m", "marquee", *arguments])

    def _process(self, name: str, argv: Sequence[str]) -> Process:
        environment = self._settings_of(name).environment()
        return Process(name, argv, self.state_dir.logs / f"{name}.log", env=environment, cwd=self.root)

    def _settings_of(self, part: str) -> Settings:
        """Return the settings with the part's own address of the database; the owner's is for the operator."""
        return replace(self.settings, database_url=self._database_urls.get(part, ""))

    def _write_state(self, parts: tuple[PartState, ...] = ()) -> None:
        environment = self.settings.environment(ENVIRONMENT_SETTINGS)
        in_memory = self._kafka is not None and not self._kafka.durable
        state = SystemState(os.getpid(), self._ready, parts, environment, in_memory)
        self.state_dir.write_state(state)
