"""Where the lines go: Kafka, a pipe, or nowhere. A line counts once it is safe there."""

from __future__ import annotations

import logging
import time
from collections import deque
from typing import Any, BinaryIO, Protocol

from marquee.config.kafka_options import client_options, create_topic
from marquee.config.settings import Settings
from marquee.errors import KafkaUnavailable, MarqueeError
from marquee.simulate.delivery_counts import DeliveryCounts, PendingRecord

log = logging.getLogger(__name__)

_SAID_EVERY_S = 10.0


class KafkaRefused(MarqueeError):
    """Kafka will not take our lines, however often we try."""


class PipeClosed(MarqueeError):
    """Whoever read the lines has stopped reading."""


class RecordProducer(Protocol):
    """Takes lines, and says through their entry when each is safe."""

    waiting: str
    """Why the lines do not get through just now; empty when they do."""

    def ready(self) -> bool:
        """Whether there is room for more."""

    def write(self, line: bytes, entry: PendingRecord) -> None:
        """Take one line. Never blocks."""

    def poll(self) -> None:
        """Serve the acknowledgements that came; raises :class:`KafkaRefused`."""

    def left(self) -> int:
        """How many lines are on their way: polled until there are none, at the end."""


class PipeProducer:
    """Lines to a file or pipe, such as stdout."""

    waiting = ""

    def __init__(self, out: BinaryIO) -> None:
        self._out, self._lines = out, 0

    def ready(self) -> bool:
        return True

    def write(self, line: bytes, entry: PendingRecord) -> None:
        try:
            self._out.write(line + b"\n")
        except BrokenPipeError as error:
            raise PipeClosed("the reader of the lines has gone") from error
        entry.written += 1
        entry.keep(0, self._lines)
        self._lines += 1

    def poll(self) -> None:
        try:
            self._out.flush()
        except BrokenPipeError as error:
            raise PipeClosed("the reader of the lines has gone") from error

    def left(self) -> int:
        return 0


class NullProducer:
    """For load tests of the answers alone: no log is kept."""

    waiting = ""

    def ready(self) -> bool:
        return True

    def write(self, line: bytes, entry: PendingRecord) -> None: ...

    def poll(self) -> None: ...

    def left(self) -> int:
        return 0


class KafkaRecordProducer:
    """An idempotent producer: whatever fails on the way, each line is in the topic once.

    A broker that is away is waited for, without end, and spoken of in the log and in ``waiting``.
    The topic is made with ``partitions`` partitions if it is not there. ``room``: lines that may be on their
    way; above that the customers have to wait. Requests' outcomes may still follow.
    """

    def __init__(
        self, settings: Settings, bootstrap: str, topic: str, partitions: int = 2, *, room: int = 100_000
    ) -> None:
        from confluent_kafka import Producer

        self._bootstrap, self._topic, self._partitions = bootstrap, topic, partitions
        # Errors are reported by `error_cb`: librdkafka's own log on stderr would break the progress display.
        self._options = client_options(settings) | {"bootstrap.servers": bootstrap, "log_level": 0}
        self._room = room
        limits = {"queue.buffering.max.messages": 2 * room, "error_cb": self._trouble}
        self._producer = Producer(self._options | _PRODUCER_OPTIONS | limits)
        self._late: deque[tuple[bytes, PendingRecord]] = deque()
        self._tally: DeliveryCounts | None = None
        self._safe = 0
        self._fatal: Any = None
        self._quiet_until = 0.0
        self.waiting = ""

    def make_topic(self) -> bool:
        """Make sure that the topic is there; False if no broker answers (yet)."""
        from confluent_kafka import KafkaException

        options = self._options | {"error_cb": lambda error: None}
        try:
            create_topic(options, self._topic, self._partitions, timeout_s=3.0)
        except KafkaException as error:
            self._trouble(error.args[0])
            return False
        except KafkaUnavailable as error:
            log.warning("%s", error)
            return False
        self.waiting = ""
        return True

    def ready(self) -> bool:
        return len(self._producer) < self._room and not self._late

    def write(self, line: bytes, entry: PendingRecord) -> None:
        entry.written += 1
        self._tally = entry.tally
        if self._late or not self._send(line, entry):
            self._late.append((line, entry))

    def _send(self, line: bytes, entry: PendingRecord) -> bool:
        try:
            self._producer.produce(self._topic, line, on_delivery=entry.delivered)
        except BufferError:
            return False
        return True

    def poll(self) -> None:
        self._producer.poll(0)
        if self._tally and self._tally.acknowledged > self._safe:
            self._safe, self.waiting = self._tally.acknowledged, ""
        while self._late and self._send(*self._late[0]):
            self._late.popleft()
        self._raise_if_refused()

    def left(self) -> int:
        return len(self._producer) + len(self._late)

    def _trouble(self, error: Any) -> None:
        if error.fatal():
            self._fatal = error
            return
        self.waiting = f"Kafka at {self._bootstrap} does not take lines ({error.str()}): waiting for it"
        if time.monotonic() >= self._quiet_until:
            self._quiet_until = time.monotonic() + _SAID_EVERY_S
            left = self._tally.unacknowledged if self._tally else 0
            log.warning("%s; %d lines are not yet acknowledged", self.waiting, left)

    def _raise_if_refused(self) -> None:
        if self._fatal is not None:
            raise KafkaRefused(
                f"Kafka at {self._bootstrap} refused the lines for good: {self._fatal.str()}. "
                "Was the topic made anew, or the broker started without its data? Start the simulation again."
            )


_PRODUCER_OPTIONS: dict[str, Any] = {
    "enable.idempotence": True,
    # Batches of some size: a broker on object storage keeps each of them as an object.
    "linger.ms": 100,
    "compression.type": "none",
    # The service waits for its log for as long as it takes; 0 is without end.
    "message.timeout.ms": 0,
    "reconnect.backoff.max.ms": 1000,
}
