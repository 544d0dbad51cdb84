"""One partition's way through the bridge: gathered, sealed, delivered, accepted, ready to commit.

No Kafka in here, and no clock but for measuring: offsets and times are handed in.
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
from marquee.bridge.bridge_stats import BridgeStats
from marquee.bridge.delivery.delivery import Delivery
from marquee.errors import TransientError
from marquee.events.batches import Record, StreamBatch, make_records
from marquee.events.envelopes import Envelope, seal

log = logging.getLogger(__name__)

MIN_BACKOFF_S = 0.1
MAX_BACKOFF_S = 5.0
# A batch that the receiver calls invalid is not given up, since that would lose its lines: the
# receiver may be a wrong version, or the address may be somebody else's.
INVALID_BACKOFF_S = 30.0


@dataclass(slots=True)
class _Sending:
    """A batch that was not accepted yet: under way, or waiting for its next attempt."""

    envelope: Envelope
    lines: int
    next_offset: int
    oldest_ms: int
    submitted: float
    future: Future[None]
    failures: int = 0
    retry_at: float | None = None
    accepted: bool = False


def _size(value: bytes | None) -> int:
    return len(value) if value else 0


class PartitionBuffer:
    """The records of one assigned partition, from the first one read to the last one accepted.

    ``committable`` only ever grows over an unbroken run of accepted batches: a later batch that was
    accepted first waits for those before it.
    """

    def __init__(
        self,
        topic: str,
        topic_id: str,
        partition: int,
        limits: BridgeLimits,
        delivery: Delivery,
        tally: BridgeStats,
    ) -> None:
        self._topic, self._topic_id, self._partition = topic, topic_id, partition
        self._limits, self._delivery, self._tally = limits, delivery, tally
        self._gathered: list[Record] = []
        self._gathered_bytes = 0
        self._due = float("inf")
        # Where the last batch ended: Kafka holds nothing between there and the first line of the next.
        self._sealed_until: int | None = None
        self._sending: deque[_Sending] = deque()
        # The bridge's notes on its reading of this partition.
        self.full = False
        self.full_since = 0.0
        self.paused = False
        self.next_offset = -1
        """One more than the last offset that was added; -1 before the first."""
        self.committable: int | None = None
        """The offset that may be committed, or None before the first acceptance."""

    @property
    def under_way(self) -> int:
        """Batches that were not accepted yet."""
        return len(self._sending)

    @property
    def bytes_held(self) -> int:
        """Roughly the memory that it holds."""
        return self._gathered_bytes + sum(len(batch.envelope.data) for batch in self._sending)

    @property
    def oldest_ms(self) -> int | None:
        """Kafka's time of the oldest record that was read and not accepted, or None if there is none."""
        if self._sending:
            return self._sending[0].oldest_ms
        return self._gathered[0].timestamp_ms if self._gathered else None

    @property
    def window_full(self) -> bool:
        """Whether as many batches are under way as may be."""
        return len(self._sending) >= self._limits.max_in_flight

    def extend(
        self,
        offsets: Sequence[int],
        timestamps_ms: Sequence[int],
        values: Sequence[bytes | None],
        now: float,
    ) -> None:
        """Take the next records, each a place in all three; what makes a full batch is sealed and submitted at once."""
        taken, ends = make_records(offsets, timestamps_ms, values), [0, *accumulate(map(_size, values))]
        at = 0
        while at < len(taken):
            fits = bisect_right(ends, ends[at] + self._limits.max_bytes - self._gathered_bytes) - 1
            end = min(fits, at + self._limits.max_records - len(self._gathered))
            if end <= at and self._gathered:
                self.flush()
                continue
            end = max(end, at + 1)  # A line that is longer than a batch may be goes alone.
            self._gather(taken[at:end], ends[end] - ends[at], now)
            at = end

    def _gather(self, taken: list[Record], size: int, now: float) -> None:
        if not self._gathered:
            self._due = now + self._limits.max_wait_s
        self._gathered += taken
        self._gathered_bytes += size
        self.next_offset = taken[-1].offset + 1
        if len(self._gathered) >= self._limits.max_records:
            self.flush()

    def pump(self, now: float) -> None:
        """Seal what is due, take in what was answered, try again what failed."""
        if now >= self._due:
            self.flush()
        for batch in self._sending:
            if batch.retry_at is not None:
                if now >= batch.retry_at:
                    batch.retry_at, batch.submitted = None, now
                    batch.future = self._delivery.submit(batch.envelope)
                    self._tally.retries += 1
            elif not batch.accepted and batch.future.done():
                self._take_answer(batch, now)
        while self._sending and self._sending[0].accepted:
            self.committable = self._sending.popleft().next_offset

    def flush(self) -> None:
        """Seal and submit what was gathered, full or not."""
        if not self._gathered:
            return
        gathered, self._gathered = tuple(self._gathered), []
        self._tally.lines_read += len(gathered)
        self._gathered_bytes, self._due = 0, float("inf")
        for part, envelope in _sealed(self._batch(gathered), self._limits.max_bytes):
            future = self._delivery.submit(envelope)
            lines, oldest_ms, submitted = len(part), part[0].timestamp_ms, time.monotonic()
            self._sending.append(_Sending(envelope, lines, part[-1].offset + 1, oldest_ms, submitted, future))

    def _batch(self, taken: tuple[Record, ...]) -> StreamBatch:
        since = taken[0].offset if self._sealed_until is None else self._sealed_until
        self._sealed_until = taken[-1].offset + 1
        return StreamBatch(self._topic, self._topic_id, self._partition, taken, since)

    def _take_answer(self, batch: _Sending, now: float) -> None:
        error = batch.future.exception()
        if error is None:
            batch.accepted = True
            self._tally.lines_accepted += batch.lines
            self._tally.batches_accepted += 1
            self._tally.batch_lines.add(batch.lines)
            self._tally.delivery_s.add(max(0.0, now - batch.submitted))
            return
        batch.failures += 1
        self._tally.deliveries_failed += 1
        self._tally.deliveries_refused += not isinstance(error, TransientError)
        batch.retry_at = now + self._backoff_s(batch, error)

    def _backoff_s(self, batch: _Sending, error: BaseException) -> float:
        if not isinstance(error, TransientError):
            log.error("batch %s is refused; kept and tried again: %s", batch.envelope.id, error)
            return INVALID_BACKOFF_S
        if batch.failures & (batch.failures - 1) == 0:  # The 1st, 2nd, 4th, 8th ... time.
            log.warning("batch %s failed %d times: %s", batch.envelope.id, batch.failures, error)
        longest = min(MIN_BACKOFF_S * (1 << min(batch.failures - 1, 16)), MAX_BACKOFF_S)
        return longest * random.uniform(0.5, 1.0)


def _sealed(batch: StreamBatch, most_bytes: int) -> Iterator[tuple[tuple[Record, ...], Envelope]]:
    envelope = seal(batch)
    if len(envelope.data) <= most_bytes or len(batch.records) == 1:
        yield batch.records, envelope
        return
    # JSON's escapes made it longer than its lines: rare, so it is simply done again in halves.
    for half in batch.halves:
        yield from _sealed(half, most_bytes)
