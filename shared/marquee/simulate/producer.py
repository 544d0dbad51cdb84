"""Destinations of the event log: Kafka, a pipe, or none. A record counts once it is acknowledged."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

from marquee.config.kafka_options import client_options, create_topic
from marquee.config.settings import Settings
from marquee.errors import KafkaUnavailable, MarqueeError
from marquee.simulate.delivery_counts import DeliveryCounts, RecordGroup

log = logging.getLogger(__name__)

_WARN_INTERVAL_S = 10.0
# The service does not wait longer than this for one request about the topic.
_TOPIC_TIMEOUT_S = 3.0


class KafkaRefused(MarqueeError):
    """Kafka refused the records, and retries cannot succeed."""


class PipeClosed(MarqueeError):
    """The reader of the pipe closed it."""


class RecordProducer:
    """A destination that acknowledges each record through its :class:`RecordGroup`; this one drops all records.

    It is the event log of a load test of the recommendations alone.
    """

    problem = ""
    """The reason why records are not acknowledged at present; empty if they are."""

    def has_room(self) -> bool:
        """Return True if more records can be written."""
        return True

    def write(self, raw: bytes, group: RecordGroup) -> None:
        """Accept one record. Never blocks."""

    def poll(self) -> None:
        """Process new acknowledgements. Raises :class:`KafkaRefused` if Kafka refuses a record permanently."""

    def pending(self) -> int:
        """Return the number of records in flight."""
        return 0


class PipeProducer(RecordProducer):
    """Records written to a file or pipe, such as stdout, one per line."""

    def __init__(self, out: BinaryIO) -> None:
        self._out, self._records = out, 0

    def write(self, raw: bytes, group: RecordGroup) -> None:
        """Write one record. Raises :class:`PipeClosed`."""
        with _translated():
            self._out.write(raw + b"\n")
        group.written += 1
        group.acknowledge(0, self._records)
        self._records += 1

    def poll(self) -> None:
        """Flush. Raises :class:`PipeClosed`."""
        with _translated():
            self._out.flush()


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError as error:
        raise PipeClosed("the reader of the records closed the pipe") from error


class KafkaRecordProducer(RecordProducer):
    """An idempotent Kafka producer: each record is in the topic once, whatever fails in between.

    While the broker is unavailable the producer retries without limit, and reports it in the log and in
    :attr:`problem`. :meth:`ensure_topic` creates the topic. With ``max_pending`` records in flight, :meth:`has_room` is
    False; request records may still follow.
    """

    def __init__(
        self,
        settings: Settings,
        bootstrap: str,
        topic: str,
        partitions: int = 2,
        *,
        max_pending: int = 100_000,
    ) -> None:
        from confluent_kafka import Producer

        self._bootstrap, self._topic, self._partitions = bootstrap, topic, partitions
        # Errors are reported by `error_cb`: librdkafka's own log on stderr would break the progress display.
        self._options = client_options(settings) | {"bootstrap.servers": bootstrap, "log_level": 0}
        self._max_pending = max_pending
        limits = {"queue.buffering.max.messages": 2 * max_pending, "error_cb": self.handle_error}
        self._producer = Producer(self._options | _PRODUCER_OPTIONS | limits)
        self._backlog: deque[tuple[bytes, RecordGroup]] = deque()
        self._counts: DeliveryCounts | None = None
        self._acknowledged = 0
        self._fatal: Any = None
        self._next_warning = 0.0
        self.problem = ""

    def ensure_topic(self) -> bool:
        """Create the topic unless it exists; return False if no broker answers yet."""
        from confluent_kafka import KafkaException

        options = self._options | {"error_cb": lambda _: None}
        try:
            create_topic(options, self._topic, self._partitions, timeout_s=_TOPIC_TIMEOUT_S)
        except KafkaException as error:
            self.handle_error(error.args[0])
            return False
        except KafkaUnavailable as error:
            self.problem = str(error)
            return False
        self.problem = ""
        return True

    def has_room(self) -> bool:
        """Return True if more records can be written."""
        return len(self._producer) < self._max_pending and not self._backlog

    def write(self, raw: bytes, group: RecordGroup) -> None:
        """Send one record, or keep it while the client's queue is full."""
        group.written += 1
        self._counts = group.counts
        if self._backlog or not self._send(raw, group):
            self._backlog.append((raw, group))

    def _send(self, raw: bytes, group: RecordGroup) -> bool:
        try:
            self._producer.produce(self._topic, raw, on_delivery=group.on_delivery)
        except BufferError:
            return False
        return True

    def poll(self) -> None:
        """Process new acknowledgements, and send what was kept. Raises :class:`KafkaRefused`."""
        self._producer.poll(0)
        if self._counts and self._counts.acknowledged > self._acknowledged:
            self._acknowledged, self.problem = self._counts.acknowledged, ""
        while self._backlog and self._send(*self._backlog[0]):
            self._backlog.popleft()
        self._raise_if_refused()

    def pending(self) -> int:
        """Return the number of records in flight."""
        return len(self._producer) + len(self._backlog)

    def handle_error(self, error: Any) -> None:
        """Record an error that the Kafka client reports; the client's ``error_cb``."""
        if error.fatal():
            self._fatal = error
            return
        self.problem = f"Kafka at {self._bootstrap} does not accept records ({error.str()}): retrying"
        if time.monotonic() >= self._next_warning:
            self._next_warning = time.monotonic() + _WARN_INTERVAL_S
            unacknowledged = self._counts.unacknowledged if self._counts else 0
            log.warning("%s; %d records are not yet acknowledged", self.problem, unacknowledged)

    def _raise_if_refused(self) -> None:
        if self._fatal is not None:
            raise KafkaRefused(
                f"Kafka at {self._bootstrap} refused the records permanently: {self._fatal.str()}. Was the topic "
                "recreated, or the broker started without its data? Start the simulation again."
            )


_PRODUCER_OPTIONS: dict[str, Any] = {
    "enable.idempotence": True,
    # Large batches: a broker on object storage keeps each as an object, one in memory keeps all of them.
    "linger.ms": 500,
    "compression.type": "zstd",
    # 0: retry without limit.
    "message.timeout.ms": 0,
    "reconnect.backoff.max.ms": 1000,
}
