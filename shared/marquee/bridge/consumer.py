"""The bridge's consumer: Kafka to StreamBatches, without a commit before the batch is accepted.

One thread owns the Kafka consumer and one buffer per partition. It reads, submits, processes answers and
commits; only the deliveries run in other threads. The bridge does not parse records.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

from marquee.bridge.bridge_limits import DEFAULT_LIMITS, BridgeLimits
from marquee.bridge.bridge_stats import BridgeStats, PartitionState
from marquee.bridge.delivery.delivery import Delivery
from marquee.bridge.health_file import touch
from marquee.bridge.kafka_client import TopicIds, create_consumer, end_offsets, position, strictly_increasing
from marquee.bridge.partition_buffer import PartitionBuffer
from marquee.bridge.recreated_topic import check_committed_record, check_not_recreated
from marquee.config.settings import Settings
from marquee.events.batches import is_named

if TYPE_CHECKING:
    from confluent_kafka import Consumer, Message, TopicPartition

log = logging.getLogger(__name__)

COMMIT_INTERVAL_S = 1.0
# Interval of the check whether the topic still has the id that the batches carry.
TOPIC_CHECK_INTERVAL_S = 10.0
# Maximum time until answers and retries are processed.
MAX_POLL_S = 0.05
# Pausing a partition discards prefetched records, which are fetched again. For shorter times it is cheaper not to read.
PAUSE_AFTER_S = 0.5
SHORT_WAIT_S = 0.002
# Maximum of all buffers together. Above it, each partition may have one batch in flight.
MAX_BYTES_BUFFERED = 64_000_000


class Bridge:
    """Consumer of one topic in a consumer group; several bridges share its partitions.

    A batch may be sent more than once. A failed batch is retried indefinitely, with back-off, and its partition waits;
    other partitions continue.
    """

    def __init__(
        self,
        settings: Settings,
        delivery: Delivery,
        topics: TopicIds | None = None,
        limits: BridgeLimits = DEFAULT_LIMITS,
        health_file: Path | None = None,
    ) -> None:
        self._settings, self._delivery, self._limits, self._health_file = settings, delivery, limits, health_file
        self._topics = topics or TopicIds(settings)
        self.stats = BridgeStats()
        self._topic_id = ""
        self._buffers: dict[int, PartitionBuffer] = {}
        self._committed: dict[int, int] = {}
        self._ends: dict[int, int] = {}
        # The commits found at the assignment, of a topic that has no id.
        self._floors: dict[int, int] = {}
        self._check_topic_at = 0.0
        self._commit_at = 0.0

    def run(self, stop: Event) -> None:
        """Forward until ``stop`` is set; then finish deliveries, commit, and leave the group.

        Waits for the broker and the topic. Raises ``SettingsError`` if the settings are invalid.
        """
        while not stop.is_set() and not self._topic_id:
            self._topic_id = self._topics.id(self._settings.kafka_topic) or ""
            stop.wait(0 if self._topic_id else 1.0)
        if stop.is_set():
            return
        if is_named(self._topic_id):
            log.warning(
                "the broker has no topic ids: never create the topic %s again under its name, because its new "
                "records would be taken for those that are written",
                self._settings.kafka_topic,
            )
        self._consumer = create_consumer(
            self._settings,
            on_commit=self._on_commit,
            error_cb=self._on_error,
            stats_cb=self._on_statistics,
        )
        try:
            self._consumer.subscribe(
                [self._settings.kafka_topic],
                on_assign=self._on_assign,
                on_revoke=self._on_revoke,
                on_lost=self._on_lost,
            )
            while not stop.is_set():
                self._step()
            self._hand_over(list(self._buffers))
        finally:
            self._consumer.close()

    def partitions(self) -> list[PartitionState]:
        """Return the state of each assigned partition. May be called from any thread."""
        return [
            buffer.state(self._ends.get(partition), self._committed.get(partition))
            for partition, buffer in sorted(self._buffers.copy().items())
        ]

    def _on_statistics(self, statistics: str) -> None:
        # A query of the watermarks can block, and never returns while a partition is paused.
        self._ends |= end_offsets(statistics, self._settings.kafka_topic)

    def _step(self) -> None:
        self._read()
        now = time.monotonic()
        for buffer in self._buffers.values():
            buffer.pump(now)
        self._pause_or_resume(now)
        if now >= self._commit_at:
            self._commit_at = now + COMMIT_INTERVAL_S
            self._commit(self._buffers, asynchronous=True)
            if self._health_file:
                touch(self._health_file)
        # Without partitions the next assignment checks: leaving while joining triggers another rebalance.
        if now >= self._check_topic_at and self._buffers and self._topic_was_replaced():
            self._read_from_beginning(self._buffers)

    def _read(self) -> None:
        if any(buffer.full and not buffer.paused for buffer in self._buffers.values()):
            time.sleep(SHORT_WAIT_S)
            return
        wait_s = min(MAX_POLL_S, self._limits.max_wait_s)
        messages = self._consumer.consume(self._limits.max_records, wait_s)
        now = time.monotonic()
        by_partition: dict[int, list[Message]] = {}
        for message in messages:
            if message.error() is None:
                by_partition.setdefault(message.partition() or 0, []).append(message)
            else:
                self._on_error(message.error())
        for partition, received in by_partition.items():
            self._buffer_messages(partition, received, now)

    def _on_error(self, error: Any) -> None:
        log.warning("Kafka: %s", error)
        # A broker that was unavailable may have returned with another topic of that name.
        self._check_topic_at = min(self._check_topic_at, time.monotonic() + 1.0)

    def _buffer_messages(self, partition: int, messages: list[Message], now: float) -> None:
        buffer = self._buffers.get(partition)
        if buffer is None:
            return  # Revoked in the meantime: the new owner reads on from the commit.
        offsets = [message.offset() or 0 for message in messages]
        if is_named(self._topic_id):
            expected = max(buffer.next_offset, self._floors.get(partition, -1))
            check_not_recreated(self._settings.kafka_topic, partition, expected, offsets)
        if offsets[0] < buffer.next_offset or offsets != sorted(offsets):
            # Offsets decrease if the topic was created again, or if the broker lost its newest records.
            self._check_topic_at = now
            messages = strictly_increasing(messages, buffer.next_offset)
            offsets = [message.offset() or 0 for message in messages]
        timestamps_ms = [message.timestamp()[1] for message in messages]
        buffer.extend(offsets, timestamps_ms, [message.value() for message in messages], now)

    def _read_floors(self, partitions: list[TopicPartition]) -> None:
        if not is_named(self._topic_id):
            return
        for committed in self._consumer.committed(partitions, timeout=10.0):
            self._floors[committed.partition] = committed.offset
            if committed.offset > 0 and committed.metadata:
                check_committed_record(create_consumer(self._settings), committed, committed.metadata)

    def _topic_was_replaced(self) -> bool:
        """Query the topic's id, use a new one for later batches, and return whether it is new."""
        topic_id = self._topics.id(self._settings.kafka_topic)
        self._check_topic_at = time.monotonic() + (TOPIC_CHECK_INTERVAL_S if topic_id else 1.0)
        if topic_id is None or topic_id == self._topic_id:
            return False
        log.warning("topic %s was replaced: %s is now %s", self._settings.kafka_topic, self._topic_id, topic_id)
        self._topic_id = topic_id
        return True

    def _read_from_beginning(self, partitions: Iterable[int]) -> None:
        """Start over on a replaced topic: the group's commits belong to its predecessor."""
        from confluent_kafka import OFFSET_BEGINNING

        assigned = list(partitions)
        self._drop(assigned)
        # Committed at once. Otherwise, after a kill before the first acceptance, the next bridge would start
        # where the old topic ended.
        self._commit_offsets([self._partition(partition, 0) for partition in assigned], asynchronous=False)
        self._open(assigned)
        self._consumer.assign([self._partition(partition, OFFSET_BEGINNING) for partition in assigned])

    def _open(self, partitions: Iterable[int]) -> None:
        for partition in partitions:
            self._buffers[partition] = PartitionBuffer(
                self._settings.kafka_topic,
                self._topic_id,
                partition,
                self._limits,
                self._delivery,
                self.stats,
            )

    def _pause_or_resume(self, now: float) -> None:
        """Pause the partitions whose receiver is too slow, and resume the others."""
        over_limit = sum(buffer.buffered_bytes for buffer in self._buffers.values()) > MAX_BYTES_BUFFERED
        for partition, buffer in self._buffers.items():
            buffer.full = buffer.window_full or (over_limit and buffer.batches_in_flight > 0)
            if not buffer.full:
                buffer.full_since = now
            if not buffer.paused and now - buffer.full_since > PAUSE_AFTER_S:
                self._consumer.pause([self._partition(partition)])
                buffer.paused = True
            elif buffer.paused and not over_limit and buffer.batches_in_flight <= self._limits.max_in_flight // 2:
                self._consumer.resume([self._partition(partition)])
                buffer.paused = False

    def _commit(self, partitions: Iterable[int], *, asynchronous: bool) -> None:
        offsets = [
            self._partition(partition, buffer.committable, str(buffer.committable_ms))
            for partition in partitions
            if (buffer := self._buffers[partition]).committable is not None
            and buffer.committable != self._committed.get(partition)
        ]
        if offsets:
            self._commit_offsets(offsets, asynchronous=asynchronous)

    def _commit_offsets(self, offsets: list[TopicPartition], *, asynchronous: bool) -> None:
        from confluent_kafka import KafkaException

        try:
            if asynchronous:
                self._consumer.commit(offsets=offsets, asynchronous=True)
            else:
                self._on_commit(None, self._consumer.commit(offsets=offsets, asynchronous=False))
        except KafkaException as error:
            log.warning("commit failed; the records will be delivered again: %s", error)

    def _on_commit(self, error: Any, partitions: list[TopicPartition]) -> None:
        if error is not None:
            log.warning("commit failed and will be retried: %s", error)
            return
        self.stats.commits += 1
        for committed in partitions:
            if committed.error is None and committed.partition in self._buffers:
                self._committed[committed.partition] = committed.offset

    def _on_assign(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        assigned = [assignment.partition for assignment in partitions]
        # A broker that was unavailable may have returned with another topic of that name.
        if self._topic_was_replaced():
            self._read_from_beginning([*self._buffers, *assigned])
        else:
            self._read_floors(partitions)
            self._open(assigned)
        log.info("reading %s, partitions %s", self._settings.kafka_topic, sorted(self._buffers))

    def _on_revoke(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._hand_over([assignment.partition for assignment in partitions if assignment.partition in self._buffers])

    def _on_lost(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        # Another member reads them already, so this bridge must not commit them.
        log.warning("lost partitions %s", [assignment.partition for assignment in partitions])
        self._drop([assignment.partition for assignment in partitions])

    def _hand_over(self, partitions: list[int]) -> None:
        """Finish the deliveries of these partitions within the drain time, and commit."""
        deadline = time.monotonic() + self._limits.drain_s
        buffers = [self._buffers[partition] for partition in partitions]
        for buffer in buffers:
            buffer.flush()
        while any(buffer.batches_in_flight for buffer in buffers) and time.monotonic() < deadline:
            for buffer in buffers:
                buffer.pump(time.monotonic())
            time.sleep(0.005)
        for buffer in buffers:
            buffer.pump(time.monotonic())
        self._commit(partitions, asynchronous=False)
        self._drop(partitions)

    def _drop(self, partitions: list[int]) -> None:
        for partition in partitions:
            buffer = self._buffers.pop(partition, None)
            self._committed.pop(partition, None)
            self._ends.pop(partition, None)
            if buffer and buffer.paused:
                # librdkafka keeps the pause, and would read nothing if the partition is assigned again.
                self._consumer.resume([self._partition(partition)])

    def _partition(self, partition: int, offset: int | None = None, metadata: str = "") -> TopicPartition:
        """Return a position of the topic. The metadata of a commit is the time of the last record before it."""
        metadata = metadata if is_named(self._topic_id) else ""
        return position(self._settings.kafka_topic, partition, offset, metadata)
