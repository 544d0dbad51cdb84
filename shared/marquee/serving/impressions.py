"""Background delivery of impressions, which never delays a response.

Lists are put into a bounded queue, and a thread delivers them in batches. While the receiver is unavailable the queue
fills up, and then the oldest impressions are dropped and counted. The thread starts with the first impression, after
the server has forked.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING
from uuid import uuid4

from marquee.errors import InvalidBatch, MarqueeError
from marquee.events.batches import Impression, ImpressionBatch

if TYPE_CHECKING:  # Imported with the first batch, to save time at a cold start.
    from marquee.bridge.delivery.delivery import Delivery

log = logging.getLogger(__name__)

CAPACITY = 10_000
"""Impressions kept while they cannot be delivered."""

_FIRST_PAUSE_S, _MAX_PAUSE_S = 0.1, 5.0


class ImpressionSender:
    """Bounded queue with a sending thread, which calls ``connect`` when it has work.

    ``capacity`` is the maximum number of queued impressions, ``batch`` the maximum in one envelope, ``wait_s`` how long
    an impression waits for its batch to fill. ``sent``, ``dropped`` (queue full, or undelivered at the end) and
    ``refused`` (by the receiver, permanently) count impressions.
    """

    def __init__(
        self,
        connect: Callable[[], Delivery],
        *,
        capacity: int = CAPACITY,
        batch: int = 200,
        wait_s: float = 0.5,
    ) -> None:
        self._connect = connect
        self._capacity = capacity
        self._batch = batch
        self._wait_s = wait_s
        self._queue: deque[Impression] = deque()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closing = False
        self.sent = self.dropped = self.refused = 0

    def send(self, impression: Impression) -> None:
        """Queue one impression and return at once."""
        with self._changed:
            self._queue.append(impression)
            self._drop_excess()
            if self._thread is None and not self._closing:
                self._thread = threading.Thread(target=self._run, name="impressions", daemon=True)
                self._thread.start()
            if len(self._queue) in (1, self._batch):  # The thread waits for no other length.
                self._changed.notify()

    @property
    def queued(self) -> int:
        """Number of queued impressions, without those being sent."""
        return len(self._queue)

    def close(self, timeout_s: float = 3.0) -> None:
        """Send the queued impressions within ``timeout_s``, without retries."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(timeout_s)
        with self._changed:
            self.dropped += len(self._queue)
            if self.dropped or self.refused:
                log.warning("impressions: %d sent, %d dropped, %d refused", self.sent, self.dropped, self.refused)
            self._queue.clear()

    def _run(self) -> None:
        delivery: Delivery | None = None
        pause_s = _FIRST_PAUSE_S
        while batch := self._next_batch():
            try:
                delivery = delivery or self._connect()
                self._deliver(delivery, batch)
                pause_s = _FIRST_PAUSE_S
            except Exception as error:  # The thread must survive any error.
                self._requeue(batch, error)
                self._pause(pause_s)
                pause_s = min(2 * pause_s, _MAX_PAUSE_S)
        if delivery is not None:
            delivery.close()

    def _next_batch(self) -> list[Impression]:
        """Wait for a batch that is full or has waited long enough; returns an empty one after the last."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._closing)
            self._changed.wait_for(lambda: len(self._queue) >= self._batch or self._closing, self._wait_s)
            return [self._queue.popleft() for _ in range(min(self._batch, len(self._queue)))]

    def _deliver(self, delivery: Delivery, batch: list[Impression]) -> None:
        from marquee.events.envelopes import encode_batch

        envelope = encode_batch(ImpressionBatch(uuid4().hex, tuple(batch)))
        try:
            delivery.submit(envelope).result()
            self.sent += len(batch)
        except InvalidBatch as error:
            self.refused += len(batch)
            log.error("dropped %d impressions that the receiver refused: %s", len(batch), error)

    def _requeue(self, batch: list[Impression], error: Exception) -> None:
        expected = isinstance(error, MarqueeError | CancelledError)
        log.warning(
            "%d impressions could not be delivered and will be retried: %s",
            len(batch),
            error,
            exc_info=None if expected else error,
        )
        with self._changed:
            self._queue.extendleft(reversed(batch))
            self._drop_excess()
            if self._closing:  # No retries while closing, which must end in time.
                self.dropped += len(self._queue)
                self._queue.clear()

    def _drop_excess(self) -> None:
        while len(self._queue) > self._capacity:
            self._queue.popleft()
            self.dropped += 1

    def _pause(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        with self._changed:
            self._changed.wait_for(lambda: self._closing, max(0.0, end - time.monotonic()))
