"""Records of one partition between Kafka and a delivery: batched, submitted, accepted, ready to commit.

The module does not use Kafka, and reads the clock only for measurements: offsets and times are passed in.
"""

from __future__ import annotations

import logging
import random
import time
from bisect import bisect_right
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import accumulate

from marquee.bridge.bridge_limits import BridgeLimits
from marquee.bridge.bridge_stats import BridgeStats, PartitionState
from marquee.bridge.delivery.delivery import Delivery
from marquee.errors import DeliveryUnauthorized, TransientError
from marquee.events.batches import Record, StreamBatch, make_records
from marquee.events.envelopes import Envelope, encode_batch

log = logging.getLogger(__name__)

MIN_BACKOFF_S = 0.1
MAX_BACKOFF_S = 5.0
# A batch that the receiver calls invalid is retried too, because giving up would lose its records: the receiver may
# be a wrong version, or the address that of another service. So is one that is refused for wrong credentials.
INVALID_BACKOFF_S = 30.0


@dataclass(slots=True)
class _SubmittedBatch:
    """A batch that is not accepted yet: in flight, or waiting for its next attempt."""

    envelope: Envelope
    records: int
    next_offset: int
    oldest_ms: int
    last_ms: int
    submitted: float
    future: Future[None]
    failures: int = 0
    retry_at: float | None = None
    accepted: bool = False


def _size(value: bytes | None) -> int:
    return len(value) if value else 0


class PartitionBuffer:
    """The records of one assigned partition, from the first one read to the last one accepted.

    ``committable`` advances over an unbroken sequence of accepted batches only: a batch that is accepted
    early waits for those before it.
    """

    def __init__(
        self,
        topic: str,
        topic_id: str,
        partition: int,
        limits: BridgeLimits,
        delivery: Delivery,
        stats: BridgeStats,
    ) -> None:
        self._topic, self._topic_id, self._partition = topic, topic_id, partition
        self._limits, self._delivery, self._stats = limits, delivery, stats
        self._pending: list[Record] = []
        self._pending_bytes = 0
        self._flush_at = float("inf")
        # Where the last batch ended: Kafka holds nothing between this offset and the first record of the next batch.
        self._batched_until: int | None = None
        self._submitted: deque[_SubmittedBatch] = deque()
        # State of the bridge's reading of this partition.
        self.full = False
        self.full_since = 0.0
        self.paused = False
        self.next_offset = -1
        """One more than the last offset that was added; -1 before the first."""
        self.committable: int | None = None
        """The offset that may be committed, or None before the first acceptance."""
        self.committable_ms = -1
        """Kafka's timestamp of the record before ``committable``."""

    @property
    def batches_in_flight(self) -> int:
        """The number of batches that are submitted and not accepted yet."""
        return len(self._submitted)

    @property
    def buffered_bytes(self) -> int:
        """The approximate memory of the records that are not accepted yet."""
        return self._pending_bytes + sum(len(batch.envelope.data) for batch in self._submitted)

    @property
    def oldest_ms(self) -> int | None:
        """Kafka's timestamp of the oldest record that is not accepted yet, or None if there is none."""
        if self._submitted:
            return self._submitted[0].oldest_ms
        return self._pending[0].timestamp_ms if self._pending else None

    def state(self, end: int | None, committed: int | None) -> PartitionState:
        """Return the gauges; ``end`` is Kafka's end offset as of the last fetch, ``committed`` the group's offset."""
        accepted = self.committable if self.committable is not None else committed
        behind = None if end is None or accepted is None else max(0, end - accepted)
        in_flight = self.batches_in_flight
        return PartitionState(self._partition, in_flight, self.buffered_bytes, self.paused, self.oldest_ms, behind)

    @property
    def window_full(self) -> bool:
        """True while the maximum number of batches is in flight."""
        return len(self._submitted) >= self._limits.max_in_flight

    def extend(
        self,
        offsets: Sequence[int],
        timestamps_ms: Sequence[int],
        values: Sequence[bytes | None],
        now: float,
    ) -> None:
        """Add the next records, given as parallel sequences; submit each batch that is full."""
        records, ends = make_records(offsets, timestamps_ms, values), [0, *accumulate(map(_size, values))]
        start = 0
        while start < len(records):
            fits = bisect_right(ends, ends[start] + self._limits.max_bytes - self._pending_bytes) - 1
            end = min(fits, start + self._limits.max_records - len(self._pending))
            if end <= start and self._pending:
                self.flush()
                continue
            end = max(end, start + 1)  # A record that is larger than a batch is submitted alone.
            self._add(records[start:end], ends[end] - ends[start], now)
            start = end

    def _add(self, records: list[Record], size: int, now: float) -> None:
        if not self._pending:
            self._flush_at = now + self._limits.max_wait_s
        self._pending += records
        self._pending_bytes += size
        self.next_offset = records[-1].offset + 1
        if len(self._pending) >= self._limits.max_records:
            self.flush()

    def pump(self, now: float) -> None:
        """Submit a batch that has waited long enough, process answers, and retry failed batches."""
        if now >= self._flush_at:
            self.flush()
        for batch in self._submitted:
            if batch.retry_at is not None:
                if now >= batch.retry_at:
                    batch.retry_at, batch.submitted = None, now
                    batch.future = self._delivery.submit(batch.envelope)
                    self._stats.retries += 1
            elif not batch.accepted and batch.future.done():
                self._process_answer(batch, now)
        while self._submitted and self._submitted[0].accepted:
            accepted = self._submitted.popleft()
            self.committable, self.committable_ms = accepted.next_offset, accepted.last_ms

    def flush(self) -> None:
        """Submit the pending records, even if they do not fill a batch."""
        if not self._pending:
            return
        pending, self._pending = tuple(self._pending), []
        self._stats.records_read += len(pending)
        self._pending_bytes, self._flush_at = 0, float("inf")
        for records, envelope in _encode(self._make_batch(pending), self._limits.max_bytes):
            future = self._delivery.submit(envelope)
            first, last, submitted = records[0], records[-1], time.monotonic()
            self._submitted.append(
                _SubmittedBatch(
                    envelope, len(records), last.offset + 1, first.timestamp_ms, last.timestamp_ms, submitted, future
                )
            )

    def _make_batch(self, records: tuple[Record, ...]) -> StreamBatch:
        since = records[0].offset if self._batched_until is None else self._batched_until
        self._batched_until = records[-1].offset + 1
        return StreamBatch(self._topic, self._topic_id, self._partition, records, since)

    def _process_answer(self, batch: _SubmittedBatch, now: float) -> None:
        error = batch.future.exception()
        if error is None:
            batch.accepted = True
            self._stats.records_accepted += batch.records
            self._stats.batches_accepted += 1
            self._stats.batch_records.add(batch.records)
            self._stats.delivery_s.add(max(0.0, now - batch.submitted))
            return
        batch.failures += 1
        self._stats.deliveries_failed += 1
        is_refused = not isinstance(error, TransientError) or isinstance(error, DeliveryUnauthorized)
        self._stats.deliveries_refused += is_refused
        batch.retry_at = now + self._backoff_s(batch, error, is_refused=is_refused)

    def _backoff_s(self, batch: _SubmittedBatch, error: BaseException, *, is_refused: bool) -> float:
        if is_refused:
            log.error(
                "batch %s was refused; retried every %g s: %s",
                batch.envelope.id,
                INVALID_BACKOFF_S,
                error,
            )
            return INVALID_BACKOFF_S
        if batch.failures & (batch.failures - 1) == 0:  # Failures 1, 2, 4, 8 and so on.
            log.warning("batch %s failed %d times: %s", batch.envelope.id, batch.failures, error)
        backoff_s = min(MIN_BACKOFF_S * (1 << min(batch.failures - 1, 16)), MAX_BACKOFF_S)
        return backoff_s * random.uniform(0.5, 1.0)


def _encode(batch: StreamBatch, max_bytes: int) -> Iterator[tuple[tuple[Record, ...], Envelope]]:
    envelope = encode_batch(batch)
    if len(envelope.data) <= max_bytes or len(batch.records) == 1:
        yield batch.records, envelope
        return
    # JSON escapes made the data longer than the records. That is rare, so the halves are encoded again.
    for half in batch.halves:
        yield from _encode(half, max_bytes)
