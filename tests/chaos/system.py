"""The system between a producer and the tables as processes: broker, bridges, function and database."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
from tests.chaos.faulty_proxy import FaultyProxy
from tests.chaos.known_records import ProducedRecords
from tests.chaos.verification import UserByPosition, Verification, read_user_id, verify
from tests.chaos.writer import Writer, read_topic
from tests.servers.function import ROOT
from tests.support.bridge_program import bridge_process

from marquee.bridge.bridge_limits import BridgeLimits
from marquee.config.settings import Settings
from marquee.db.migrate import migrate
from marquee.db.pool import Database
from marquee.errors import DatabaseUnavailable
from marquee.local.embedded_kafka import CONSUMER_OPTIONS, EmbeddedKafka
from marquee.local.embedded_postgres import EmbeddedPostgres
from marquee.local.function_process import function_instance, health_check
from marquee.local.infra_spec import read_functions
from marquee.local.process import Process, free_port, port_open

TOPIC, GROUP = "movielog", "chaos"
PARTITIONS = 2
DELIVERY_TIMEOUT_S = 1.5
BRIDGES = ("bridge-1", "bridge-2")
PARTS = (*BRIDGES, "function", "broker", "database")


class ChaosSystem:
    """Everything between a producer and the tables; each part is a process that can be killed by name."""

    def __init__(
        self, directory: Path, seed: int, records_per_s: float = 400.0, bridges: Sequence[str] = BRIDGES
    ) -> None:
        self.bridges = bridges
        self.produced = ProducedRecords(seed)
        self.kafka = EmbeddedKafka(directory / "kafka", durable=True)
        self.postgres = EmbeddedPostgres(directory / "postgres")
        self._directory = directory
        self._function_port = free_port()
        self.proxy = FaultyProxy(self._function_port, DELIVERY_TIMEOUT_S, random.Random(seed))
        self._writer = Writer(self.kafka.bootstrap, TOPIC, PARTITIONS, self.produced, records_per_s)
        self._processes: dict[str, Process] = {}
        self._repair_at = 0.0
        self.group_repairs = 0
        """The number of times that the embedded broker lost the leader of the bridges' group."""

    def __enter__(self) -> ChaosSystem:
        self.postgres.start()
        migrate(self.postgres.url)
        self.database = Database(self.postgres.url)
        self.kafka.start()
        self.kafka.create_topic(TOPIC, PARTITIONS)
        self._processes = {
            "function": self._function(),
            **{name: self._bridge(name) for name in self.bridges},
        }
        for part in ("function", *self.bridges):
            self.start(part)
        self._writer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.stop()
        for process in self._processes.values():
            process.stop(2)
        self.proxy.close()
        self.database.close()
        self.kafka.kill()
        self.postgres.kill()

    def start(self, part: str) -> None:
        """Start a part that has ended; only broker and database are awaited."""
        if part == "broker":
            self.kafka.broker.start()
            self.kafka.broker.wait_healthy(lambda: port_open(self.kafka.port))
        elif part == "database":
            self.postgres.start()
        else:
            self._processes[part].start()

    def signal(self, part: str, number: int) -> None:
        """Send a signal to every process of a part."""
        for pid in self._family(part):
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass

    def end(self, part: str, number: int) -> None:
        """Send a signal that ends a part, and wait for the end; kill the part if it takes long."""
        roots = self._roots(part)
        self.signal(part, number) if number == signal.SIGKILL else _signal(roots, number)
        if part == "broker":
            self.kafka.broker.stop(2)
        elif part == "database":
            psutil.wait_procs([psutil.Process(pid) for pid in roots if psutil.pid_exists(pid)], timeout=5)
            self.postgres.kill()
        else:
            self._processes[part].stop(5)

    def settle(self, timeout_s: float = 90.0) -> Verification:
        """Stop writing, wait until everything has arrived or nothing does for ``timeout_s``, and verify."""
        self.proxy.stop_faults()
        self._writer.finish(timeout_s)
        in_kafka = self._in_kafka()
        rows, deadline = 0, time.monotonic() + timeout_s
        while True:
            try:
                result = verify(self.database, self.produced, in_kafka)
                if result.exact or time.monotonic() > deadline:
                    return result
                if result.rows > rows:  # A busy machine is slow.
                    rows, deadline = result.rows, time.monotonic() + timeout_s
                elif time.monotonic() > self._repair_at and self._group_has_no_leader():
                    self._repair_group()
            except DatabaseUnavailable:
                if time.monotonic() > deadline:
                    raise
            time.sleep(0.3)

    def _group_has_no_leader(self) -> bool:
        """Return whether the embedded broker (tansu 0.6.0) waits for an assignment by a member that has left.

        It happens if the leader leaves a group in which others stay. No member can repair it, and none is
        assigned a partition again. Kafka would choose a new leader.
        """
        group = self._group()
        leader = group.get("state", {}).get("Forming", {}).get("leader")
        return leader is not None and leader not in group["members"]

    def _group_is_formed(self) -> bool:
        """Return whether each member has its assignment."""
        group = self._group()
        return bool(group.get("members")) and "Formed" in group["state"]

    @property
    def _group_file(self) -> Path:
        groups = self.kafka.directory / "kafka-data/tansu/clusters/tansu_cluster/groups/consumers"
        return groups / f"{GROUP}.json"

    def _group(self) -> dict[str, Any]:
        """Return the embedded broker's state of the bridges' group; empty while it writes."""
        try:
            group: dict[str, Any] = json.loads(self._group_file.read_bytes())
        except (FileNotFoundError, ValueError):
            return {}
        return group

    def _repair_group(self) -> None:
        """Delete the broker's state of the group, and let the group form again, one member at a time.

        The group does not form by itself even when all members have left, because the broker still waits for
        the leader. Commits are stored elsewhere and remain.
        """
        self.group_repairs += 1
        for bridge in self.bridges:
            self.end(bridge, signal.SIGKILL)
        self.end("broker", signal.SIGKILL)
        self._group_file.unlink(missing_ok=True)
        self.start("broker")
        for bridge in self.bridges:
            self.start(bridge)
            deadline = time.monotonic() + 20
            while not self._group_is_formed() and time.monotonic() < deadline:
                time.sleep(0.1)
        self._repair_at = time.monotonic() + 10

    def _in_kafka(self) -> UserByPosition:
        """Return what the broker holds at the end, whatever it acknowledged."""
        ends = dict.fromkeys(range(PARTITIONS), 0)
        for partition, offset in self.produced.positions:
            ends[partition] = max(ends[partition], offset + 1)
        records = read_topic(self.kafka.bootstrap, TOPIC, ends)
        return {position: read_user_id(raw) for position, raw in records.items()}

    def execute(self, statement: str) -> None:
        """Run SQL in the database."""
        with closing(Database(self.postgres.url)) as database, database.transaction() as cursor:
            cursor.execute(statement)

    def logs(self) -> dict[str, str]:
        """Return the log of each part by name."""
        return {path.stem: path.read_text(errors="replace") for path in self._directory.rglob("*.log")}

    def log_ends(self, lines: int = 15) -> str:
        """Return the last lines of each log, for the message of a failed test."""
        return "\n".join(
            f"The end of {name}.log:\n" + "\n".join(text.splitlines()[-lines:]) for name, text in self.logs().items()
        )

    def _roots(self, part: str) -> Sequence[int]:
        if part == "broker":
            # Not its storage, which stands for a replicated disk: a kill while it writes the broker's watermark
            # loses acknowledged records, which no reader can recover.
            pid = self.kafka.broker.pid
            return () if pid is None else (pid,)
        if part == "database":
            return self.postgres.pids
        pid = self._processes[part].pid
        return () if pid is None else (pid,)

    def _family(self, part: str) -> list[int]:
        pids: list[int] = []
        for root in self._roots(part):
            try:
                pids += [root, *(child.pid for child in psutil.Process(root).children(recursive=True))]
            except psutil.NoSuchProcess:
                pass
        return pids

    def _function(self) -> Process:
        described = read_functions(ROOT)["ingest"]
        settings = {"MARQUEE_DATABASE_URL": self.postgres.url, **_python_path()}
        return function_instance("function", described, ROOT, self._directory, self._function_port, settings)

    def await_function(self) -> None:
        """Wait until the function answers."""
        self._processes["function"].wait_healthy(health_check(f"http://127.0.0.1:{self._function_port}/healthz"))

    def _bridge(self, name: str) -> Process:
        settings = Settings(
            kafka_bootstrap=self.kafka.bootstrap,
            kafka_topic=TOPIC,
            kafka_options=(*CONSUMER_OPTIONS, ("group.id", GROUP)),
            delivery_url=self.proxy.url,
        )
        limits = BridgeLimits(max_records=50, max_wait_s=0.05, drain_s=1.0, delivery_timeout_s=DELIVERY_TIMEOUT_S)
        environment = settings.environment() | _python_path()
        return bridge_process(name, self._directory / f"{name}.log", environment, limits)


def _python_path() -> dict[str, str]:
    return {"PYTHONPATH": str(ROOT / "shared")}


def _signal(pids: Sequence[int], number: int) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass
