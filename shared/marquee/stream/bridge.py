"""From Kafka to whoever takes StreamBatches: nothing is committed before it was accepted.

One thread owns the consumer and the lanes (one a partition). It reads, seals, submits, takes in the
answers and commits; only the deliveries themselves run elsewhere. Understands nothing of the lines.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from functools import partial
from threading import Event
from typing import TYPE_CHECKING, Any

from marquee.errors import KafkaUnavailable
from marquee.settings import Settings
from marquee.stream import kafka
from marquee.stream.delivery import Delivery
from marquee.stream.lane import Lane, Limits, Tally

if TYPE_CHECKING:
    from confluent_kafka import Consumer, Message, TopicPartition

log = logging.getLogger(__name__)

COMMIT_EVERY_S = 1.0
# How often it is asked whether the topic is still the one whose id goes into the batches.
LOOK_AT_TOPIC_EVERY_S = 10.0
# Answers and retries are noticed this often at the latest.
LONGEST_POLL_S = 0.05
# All lanes together: beyond it each may have one batch under way.
MOST_BYTES_HELD = 64_000_000


class Bridge:
    """Reads one topic in a consumer group; several bridges share its partitions.

    Delivery is at least once. A failed delivery is tried again for ever, with back-off, while the
    partition is paused; other partitions go on.
    """

    def __init__(self, settings: Settings, delivery: Delivery) -> None:
        self._settings = settings
        self._delivery = delivery
        self.tally = Tally()
        self._limits = Limits(
            lines=settings.batch_lines,
            bytes=settings.batch_bytes,
            wait_s=settings.batch_ms / 1000,
            window=settings.batches_in_flight,
        )

    def run(self, stop: Event) -> None:
        """Forward until ``stop`` is set; then finish what is under way, commit, and leave the group."""
        admin = kafka.admin(self._settings)
        replaced = False
        while not stop.is_set():
            stream = self._find_topic(admin, stop)
            if stream is not None:
                session = _Session(self._settings, self._delivery, self._limits, self.tally, stream, replaced)
                replaced = session.run(stop, partial(self._topic_now, admin))

    def _find_topic(self, admin: Any, stop: Event) -> str | None:
        try:
            return kafka.topic_id(admin, self._settings.kafka_topic)
        except KafkaUnavailable as error:
            log.warning("waiting for Kafka: %s", error)
            stop.wait(1.0)
            return None

    def _topic_now(self, admin: Any) -> str | None:
        try:
            return kafka.topic_id(admin, self._settings.kafka_topic, timeout_s=2.0)
        except KafkaUnavailable:
            return None


class _Session:
    """One membership in the group, on one incarnation of the topic."""

    def __init__(
        self,
        settings: Settings,
        delivery: Delivery,
        limits: Limits,
        tally: Tally,
        stream: str,
        from_beginning: bool,
    ) -> None:
        self._settings, self._delivery, self._limits, self._tally = settings, delivery, limits, tally
        self._stream = stream
        # Of a topic that was replaced under us, the group may hold the offsets of its predecessor.
        self._from_beginning = from_beginning
        self._lanes: dict[int, Lane] = {}
        self._committed: dict[int, int] = {}
        self._look_at_topic_at = time.monotonic() + LOOK_AT_TOPIC_EVERY_S
        self._commit_at = 0.0

    def run(self, stop: Event, topic_now: Callable[[], str | None]) -> bool:
        """Forward until ``stop`` is set, or the topic was replaced: then it returns True."""
        self._consumer = kafka.consumer(self._settings, on_commit=self._on_commit, error_cb=self._on_error)
        try:
            self._consumer.subscribe(
                [self._settings.kafka_topic],
                on_assign=self._on_assign,
                on_revoke=self._on_revoke,
                on_lost=self._on_lost,
            )
            while not stop.is_set():
                self._step()
                if time.monotonic() >= self._look_at_topic_at and self._replaced(topic_now()):
                    return True
            self._hand_over(list(self._lanes))
            return False
        finally:
            self._consumer.close()

    def _step(self) -> None:
        self._read()
        now = time.monotonic()
        for lane in self._lanes.values():
            lane.pump(now)
        self._hold_back()
        if now >= self._commit_at:
            self._commit_at = now + COMMIT_EVERY_S
            self._commit(self._lanes, asynchronous=True)

    def _read(self) -> None:
        wait_s = min(LONGEST_POLL_S, self._limits.wait_s)
        messages = self._consumer.consume(self._settings.batch_lines, wait_s)
        now = time.monotonic()
        for message in messages:
            if message.error() is None:
                self._take(message, now)
            else:
                self._on_error(message.error())

    def _on_error(self, error: Any) -> None:
        log.warning("Kafka: %s", error)
        # A broker that was away may have come back with another topic of that name.
        self._look_at_topic_at = min(self._look_at_topic_at, time.monotonic() + 1.0)

    def _take(self, message: Message, now: float) -> None:
        lane = self._lanes.get(message.partition() or 0)
        if lane is None:
            return  # Revoked meanwhile: the new owner reads it from what was committed.
        offset = message.offset() or 0
        if offset < lane.next_offset:
            # Offsets go back when a topic is made anew, or when the broker lost some of its end.
            self._look_at_topic_at = now
            return
        lane.add(offset, message.timestamp()[1], message.value(), now)

    def _replaced(self, stream: str | None) -> bool:
        known = stream is not None
        self._look_at_topic_at = time.monotonic() + (LOOK_AT_TOPIC_EVERY_S if known else 1.0)
        if not known or stream == self._stream:
            return False
        log.warning("topic %s was replaced: %s is now %s", self._settings.kafka_topic, self._stream, stream)
        self._lanes.clear()  # Nothing of the old one may be committed to the new one.
        return True

    def _hold_back(self) -> None:
        """Pause the partitions whose receiver does not keep up, and read on where it does."""
        crowded = sum(lane.bytes_held for lane in self._lanes.values()) > MOST_BYTES_HELD
        for partition, lane in self._lanes.items():
            full = lane.full or (crowded and lane.under_way > 0)
            # A pause drops what was fetched ahead: read on only when half of the window is free.
            if full and not lane.paused:
                self._consumer.pause([self._partition(partition)])
                lane.paused = True
            elif lane.paused and not crowded and lane.under_way <= self._limits.window // 2:
                self._consumer.resume([self._partition(partition)])
                lane.paused = False

    def _commit(self, partitions: Iterable[int], *, asynchronous: bool) -> None:
        offsets = [
            self._partition(partition, lane.committable)
            for partition in partitions
            if (lane := self._lanes[partition]).committable is not None
            and lane.committable != self._committed.get(partition)
        ]
        if not offsets:
            return
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
        self._tally.commits += 1
        for done in partitions:
            if done.error is None and done.partition in self._lanes:
                self._committed[done.partition] = done.offset

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        from confluent_kafka import OFFSET_BEGINNING

        topic = self._settings.kafka_topic
        for given in partitions:
            self._lanes[given.partition] = Lane(
                topic, self._stream, given.partition, self._limits, self._delivery, self._tally
            )
            if self._from_beginning:
                given.offset = OFFSET_BEGINNING
        if self._from_beginning:
            self._from_beginning = False
            consumer.assign(partitions)
        log.info("reading %s, partitions %s", topic, sorted(self._lanes))

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._hand_over([given.partition for given in partitions if given.partition in self._lanes])

    def _on_lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        # Somebody else reads them already: what we would commit is no longer ours to say.
        log.warning("lost partitions %s", [given.partition for given in partitions])
        self._drop([given.partition for given in partitions])

    def _hand_over(self, partitions: list[int]) -> None:
        """Finish what was read of these partitions, as far as time allows, and commit it."""
        deadline = time.monotonic() + self._settings.drain_s
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
            self._lanes.pop(partition, None)
            self._committed.pop(partition, None)

    def _partition(self, partition: int, offset: int | None = None) -> TopicPartition:
        from confluent_kafka import OFFSET_INVALID, TopicPartition

        return TopicPartition(
            self._settings.kafka_topic, partition, OFFSET_INVALID if offset is None else offset
        )
