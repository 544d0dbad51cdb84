"""From Kafka to whoever takes StreamBatches: nothing is committed before it was accepted.

One thread owns the consumer and the lanes (one a partition). It reads, seals, submits, takes in the
answers and commits; only the deliveries themselves run elsewhere. Understands nothing of the lines.
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
from marquee.bridge.kafka_client import TopicIds, consumer, end_offsets, strictly_increasing
from marquee.bridge.partition_buffer import PartitionBuffer
from marquee.config.settings import Settings

if TYPE_CHECKING:
    from confluent_kafka import Consumer, Message, TopicPartition

log = logging.getLogger(__name__)

COMMIT_INTERVAL_S = 1.0
# How often it is asked whether the topic is still the one whose id goes into the batches.
TOPIC_CHECK_INTERVAL_S = 10.0
# Answers and retries are noticed this often at the latest.
MAX_POLL_S = 0.05
# A pause drops what was fetched ahead, and costs a fetch: for so long it is cheaper just not to read.
PAUSE_AFTER_S = 0.5
SHORT_WAIT_S = 0.002
# All lanes together: beyond it each may have one batch under way.
MAX_BYTES_BUFFERED = 64_000_000


class Bridge:
    """Reads one topic in a consumer group; several bridges share its partitions.

    Delivery is at least once. A failed delivery is tried again for ever, with back-off, while the
    partition is held back; other partitions go on.
    """

    def __init__(
        self,
        settings: Settings,
        delivery: Delivery,
        topics: TopicIds | None = None,
        limits: BridgeLimits = DEFAULT_LIMITS,
    ) -> None:
        self._settings, self._delivery, self._limits = settings, delivery, limits
        self._topics = topics or TopicIds(settings)
        self.tally = BridgeStats()
        self._topic_id = ""
        self._lanes: dict[int, PartitionBuffer] = {}
        self._committed: dict[int, int] = {}
        self._ends: dict[int, int] = {}
        self._look_at_topic_at = 0.0
        self._commit_at = 0.0

    def run(self, stop: Event) -> None:
        """Forward until ``stop`` is set; then finish what is under way, commit, and leave the group.

        Waits for the broker and the topic; raises ``SettingsError`` for settings that can never work.
        """
        while not stop.is_set() and not self._topic_id:
            self._topic_id = self._topics.id(self._settings.kafka_topic) or ""
            stop.wait(0 if self._topic_id else 1.0)
        if stop.is_set():
            return
        self._consumer = consumer(
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
            self._hand_over(list(self._lanes))
        finally:
            self._consumer.close()

    def partitions(self) -> list[PartitionState]:
        """How it stands with each partition that is read now. May be called from any thread."""
        return [
            PartitionState(
                number,
                held.under_way,
                held.bytes_held,
                held.paused,
                held.oldest_ms,
                self._behind(number, held),
            )
            for number, held in sorted(self._lanes.copy().items())
        ]

    def _behind(self, partition: int, lane: PartitionBuffer) -> int | None:
        """Lines in Kafka that were not accepted yet, as of a second ago; None before the first fetch."""
        end = self._ends.get(partition)
        done = lane.committable if lane.committable is not None else self._committed.get(partition)
        return None if end is None or done is None else max(0, end - done)

    def _on_statistics(self, statistics: str) -> None:
        # Asked for its watermarks, the client may wait, and for ever while a partition is paused.
        self._ends |= end_offsets(statistics, self._settings.kafka_topic)

    def _step(self) -> None:
        self._read()
        now = time.monotonic()
        for lane in self._lanes.values():
            lane.pump(now)
        self._hold_back(now)
        if now >= self._commit_at:
            self._commit_at = now + COMMIT_INTERVAL_S
            self._commit(self._lanes, asynchronous=True)
            self._say_healthy()
        # While none is assigned, the next assignment looks: to leave in the middle of joining upsets a group.
        if now >= self._look_at_topic_at and self._lanes and self._topic_was_replaced():
            self._read_from_beginning(self._lanes)

    def _say_healthy(self) -> None:
        """Whoever looks at the file's time sees a loop that stands still."""
        if self._settings.health_file:
            Path(self._settings.health_file).touch()

    def _read(self) -> None:
        if any(lane.full and not lane.paused for lane in self._lanes.values()):
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
        for partition, taken in by_partition.items():
            self._take(partition, taken, now)

    def _on_error(self, error: Any) -> None:
        log.warning("Kafka: %s", error)
        # A broker that was away may have come back with another topic of that name.
        self._look_at_topic_at = min(self._look_at_topic_at, time.monotonic() + 1.0)

    def _take(self, partition: int, messages: list[Message], now: float) -> None:
        lane = self._lanes.get(partition)
        if lane is None:
            return  # Revoked meanwhile: the new owner reads it from what was committed.
        offsets = [message.offset() or 0 for message in messages]
        if offsets[0] < lane.next_offset or offsets != sorted(offsets):
            # Offsets go back when a topic is made anew, or when the broker lost some of its end.
            self._look_at_topic_at = now
            messages = strictly_increasing(messages, lane.next_offset)
            offsets = [message.offset() or 0 for message in messages]
        stamps = [message.timestamp()[1] for message in messages]
        lane.extend(offsets, stamps, [message.value() for message in messages], now)

    def _topic_was_replaced(self) -> bool:
        """Ask for the topic's id, and take a new one for the batches to come."""
        found = self._topics.id(self._settings.kafka_topic)
        self._look_at_topic_at = time.monotonic() + (TOPIC_CHECK_INTERVAL_S if found else 1.0)
        if found is None or found == self._topic_id:
            return False
        log.warning("topic %s was replaced: %s is now %s", self._settings.kafka_topic, self._topic_id, found)
        self._topic_id = found
        return True

    def _read_from_beginning(self, partitions: Iterable[int]) -> None:
        """Start over on a topic that was replaced: what the group has committed is of its predecessor."""
        from confluent_kafka import OFFSET_BEGINNING

        assigned = list(partitions)
        self._drop(assigned)
        # Committed at once: were we killed before the first acceptance, the next bridge would begin
        # where the old topic ended.
        self._commit_offsets([self._partition(partition, 0) for partition in assigned], asynchronous=False)
        self._open(assigned)
        self._consumer.assign([self._partition(partition, OFFSET_BEGINNING) for partition in assigned])

    def _open(self, partitions: Iterable[int]) -> None:
        for partition in partitions:
            self._lanes[partition] = PartitionBuffer(
                self._settings.kafka_topic,
                self._topic_id,
                partition,
                self._limits,
                self._delivery,
                self.tally,
            )

    def _hold_back(self, now: float) -> None:
        """Pause the partitions whose receiver does not keep up, and read on where it does."""
        crowded = sum(lane.bytes_held for lane in self._lanes.values()) > MAX_BYTES_BUFFERED
        for partition, lane in self._lanes.items():
            lane.full = lane.window_full or (crowded and lane.under_way > 0)
            if not lane.full:
                lane.full_since = now
            if not lane.paused and now - lane.full_since > PAUSE_AFTER_S:
                self._consumer.pause([self._partition(partition)])
                lane.paused = True
            elif lane.paused and not crowded and lane.under_way <= self._limits.max_in_flight // 2:
                self._consumer.resume([self._partition(partition)])
                lane.paused = False

    def _commit(self, partitions: Iterable[int], *, asynchronous: bool) -> None:
        offsets = [
            self._partition(partition, lane.committable)
            for partition in partitions
            if (lane := self._lanes[partition]).committable is not None
            and lane.committable != self._committed.get(partition)
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
            log.warning("commit failed; the lines will be delivered again: %s", error)

    def _on_commit(self, error: Any, partitions: list[TopicPartition]) -> None:
        if error is not None:
            log.warning("commit failed; it is tried again: %s", error)
            return
        self.tally.commits += 1
        for done in partitions:
            if done.error is None and done.partition in self._lanes:
                self._committed[done.partition] = done.offset

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        assigned = [given.partition for given in partitions]
        # A broker that was away may have come back with another topic of that name.
        if self._topic_was_replaced():
            self._read_from_beginning([*self._lanes, *assigned])
        else:
            self._open(assigned)
        log.info("reading %s, partitions %s", self._settings.kafka_topic, sorted(self._lanes))

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._hand_over([given.partition for given in partitions if given.partition in self._lanes])

    def _on_lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        # Somebody else reads them already: what we would commit is no longer ours to say.
        log.warning("lost partitions %s", [given.partition for given in partitions])
        self._drop([given.partition for given in partitions])

    def _hand_over(self, partitions: list[int]) -> None:
        """Finish what was read of these partitions, as far as time allows, and commit it."""
        deadline = time.monotonic() + self._limits.drain_s
        lanes = [self._lanes[partition] for partition in partitions]
        for lane in lanes:
            lane.flush()
        while any(lane.under_way for lane in lanes) and time.monotonic() < deadline:
            for lane in lanes:
                lane.pump(time.monotonic())
            time.sleep(0.005)
        for lane in lanes:
            lane.pump(time.monotonic())
        self._commit(partitions, asynchronous=False)
        self._drop(partitions)

    def _drop(self, partitions: list[int]) -> None:
        for partition in partitions:
            lane = self._lanes.pop(partition, None)
            self._committed.pop(partition, None)
            self._ends.pop(partition, None)
            if lane and lane.paused:
                # librdkafka would remember it, and read nothing should the partition come back to us.
                self._consumer.resume([self._partition(partition)])

    def _partition(self, partition: int, offset: int | None = None) -> TopicPartition:
        from confluent_kafka import OFFSET_INVALID, TopicPartition

        return TopicPartition(
            self._settings.kafka_topic, partition, OFFSET_INVALID if offset is None else offset
        )
