"""The whole way of a line as processes: broker, bridges, function, database, and a producer that knows its lines."""

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
from tests.chaos.account import Account, Places, account, user_of
from tests.chaos.lines import Ledger
from tests.chaos.mischief import Mischief
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
from marquee.local.process import Process, free_port

TOPIC, GROUP = "movielog", "chaos"
PARTITIONS = 2
PATIENCE_S = 1.5
"""After so long without an answer the bridge gives a delivery up."""
BRIDGES = ("bridge-1", "bridge-2")
PARTS = (*BRIDGES, "function", "broker", "database")


class ChaosSystem:
    """Everything between a producer and the tables, each part a process that may be killed by its name."""

    def __init__(
        self, directory: Path, seed: int, lines_per_s: float = 400.0, bridges: Sequence[str] = BRIDGES
    ) -> None:
        self.bridges = bridges
        self.ledger = Ledger(seed)
        self.kafka = EmbeddedKafka(directory / "kafka", durable=True)
        self.postgres = EmbeddedPostgres(directory / "postgres")
        self._directory = directory
        self._function_port = free_port()
        self.mischief = Mischief(self._function_port, PATIENCE_S, random.Random(seed))
        self._writer = Writer(self.kafka.bootstrap, TOPIC, PARTITIONS, self.ledger, lines_per_s)
        self._processes: dict[str, Process] = {}
        self._mend_at = 0.0
        self.mended = 0
        """How often the embedded broker had lost the leader of the bridges' group."""

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
        self.mischief.close()
        self.database.close()
        self.kafka.kill()
        self.postgres.kill()

    def start(self, part: str) -> None:
        """Start a part that has ended; returns at once but for broker and database."""
        if part == "broker":
            self.kafka.restart_broker()
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
        """Send a signal that ends a part, and wait until it has gone, by force if it takes long."""
        roots = self._roots(part)
        self.signal(part, number) if number == signal.SIGKILL else _signal(roots, number)
        if part == "broker":
            self.kafka.broker.stop(2)
        elif part == "database":
            psutil.wait_procs([psutil.Process(pid) for pid in roots if psutil.pid_exists(pid)], timeout=5)
            self.postgres.kill()
        else:
            self._processes[part].stop(5)

    def settle(self, patience_s: float = 90.0) -> Account:
        """Write no more, wait until all has arrived or nothing more does for ``patience_s``, and count."""
        self.mischief.rest()
        self._writer.finish(patience_s)
        in_kafka = self._in_kafka()
        rows, deadline = 0, time.monotonic() + patience_s
        while True:
            try:
                found = account(self.database, self.ledger, in_kafka)
                if found.exact or time.monotonic() > deadline:
                    return found
                if found.rows > rows:  # A machine that is busy with other things takes its time.
                    rows, deadline = found.rows, time.monotonic() + patience_s
                elif time.monotonic() > self._mend_at and self._group_has_no_leader():
                    self._mend_group()
            except DatabaseUnavailable:
                if time.monotonic() > deadline:
                    raise
            time.sleep(0.3)

    def _group_has_no_leader(self) -> bool:
        """Whether the embedded broker (tansu 0.6.0) waits for an assignment by a member that has left.

        It happens where a leader leaves a group that others stay in, and no member can mend it: nobody is given a
        partition again. Kafka chooses a new leader.
        """
        group = self._group()
        leader = group.get("state", {}).get("Forming", {}).get("leader")
        return leader is not None and leader not in group["members"]

    def _group_is_formed(self) -> bool:
        """Whether each member that is there has been told which partitions are its own."""
        group = self._group()
        return bool(group.get("members")) and "Formed" in group["state"]

    @property
    def _group_file(self) -> Path:
        groups = self.kafka.directory / "kafka-data/tansu/clusters/tansu_cluster/groups/consumers"
        return groups / f"{GROUP}.json"

    def _group(self) -> dict[str, Any]:
        """What the embedded broker has written of the bridges' group; nothing while it writes."""
        try:
            group: dict[str, Any] = json.loads(self._group_file.read_bytes())
        except (FileNotFoundError, ValueError):
            return {}
        return group

    def _mend_group(self) -> None:
        """Have the broker forget who was in the group, and let it form anew, by one member after the other.

        It does not form by itself even when all have left: the leader is still waited for. What the group has committed
        is kept elsewhere and stays.
        """
        self.mended += 1
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
        self._mend_at = time.monotonic() + 10

    def _in_kafka(self) -> Places:
        """What the broker holds in the end, whatever it has acknowledged."""
        ends = dict.fromkeys(range(PARTITIONS), 0)
        for partition, offset in self.ledger.places:
            ends[partition] = max(ends[partition], offset + 1)
        held = read_topic(self.kafka.bootstrap, TOPIC, ends)
        return {place: user_of(raw) for place, raw in held.items()}

    def execute(self, statement: str) -> None:
        """Run SQL in the database."""
        with closing(Database(self.postgres.url)) as database, database.transaction() as cursor:
            cursor.execute(statement)

    def logs(self) -> dict[str, str]:
        """What each part has to say, by its name."""
        return {path.stem: path.read_text(errors="replace") for path in self._directory.rglob("*.log")}

    def log_ends(self, lines: int = 15) -> str:
        """The last lines that each part has to say, for the message of a test that failed."""
        return "\n".join(
            f"The end of {name}.log:\n" + "\n".join(text.splitlines()[-lines:])
            for name, text in self.logs().items()
        )

    def _roots(self, part: str) -> Sequence[int]:
        if part == "broker":
            # Not its storage, which stands for a replicated disk: killed in the middle of writing the broker's
            # watermark, it loses lines that were acknowledged, which no reader can make good.
            pid = self.kafka.broker.pid
            return () if pid is None else (pid,)
        if part == "database":
            return self.postgres.pids
        pid = self._processes[part].pid
        return () if pid is None else (pid,)

    def _family(self, part: str) -> list[int]:
        found: list[int] = []
        for root in self._roots(part):
            try:
                found += [root, *(child.pid for child in psutil.Process(root).children(recursive=True))]
            except psutil.NoSuchProcess:
                pass
        return found

    def _function(self) -> Process:
        described = read_functions(ROOT)["ingest"]
        settings = {"MARQUEE_DATABASE_URL": self.postgres.url, **_library()}
        logs, sockets = self._directory, self._directory / "sockets"
        return function_instance("function", described, ROOT, logs, sockets, self._function_port, settings)

    def await_function(self) -> None:
        """Wait until the function answers."""
        self._processes["function"].wait_healthy(
            health_check(f"http://127.0.0.1:{self._function_port}/healthz")
        )

    def _bridge(self, name: str) -> Process:
        settings = Settings(
            kafka_bootstrap=self.kafka.bootstrap,
            kafka_topic=TOPIC,
            kafka_group=GROUP,
            kafka_options=tuple((option, str(value)) for option, value in CONSUMER_OPTIONS.items()),
            delivery_url=self.mischief.url,
        )
        limits = BridgeLimits(max_records=50, max_wait_s=0.05, drain_s=1.0, delivery_timeout_s=PATIENCE_S)
        environment = settings.environment() | _library()
        return bridge_process(name, self._directory / f"{name}.log", environment, limits)


def _library() -> dict[str, str]:
    return {"PYTHONPATH": str(ROOT / "shared")}


def _signal(pids: Sequence[int], number: int) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass
