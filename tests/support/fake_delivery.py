"""A delivery in memory that accepts, refuses or holds back envelopes as a test decides."""

from __future__ import annotations

import threading
from concurrent.futures import Future

from marquee.events.batches import Impression, ImpressionBatch, StreamBatch
from marquee.events.envelopes import Envelope, open_envelope


class FakeDelivery:
    """A delivery that records each attempt in ``submitted``.

    An attempt waits while ``gate`` is closed, and then fails with ``error`` or is accepted. With
    ``manual``, its future stays open until the test calls ``accept`` or ``fail``.
    """

    def __init__(self, *, manual: bool = False) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.error: Exception | None = None
        self.submitted: list[tuple[Envelope, Future[None]]] = []
        self.closed = False
        self._manual = manual
        self._changed = threading.Condition()

    def submit(self, envelope: Envelope) -> Future[None]:
        """Record an attempt; see :class:`marquee.bridge.delivery.delivery.Delivery`."""
        future: Future[None] = Future()
        self.gate.wait(10)
        with self._changed:
            self.submitted.append((envelope, future))
            if self.error is not None:
                future.set_exception(self.error)
            elif not self._manual:
                future.set_result(None)
            self._changed.notify_all()
        return future

    def close(self) -> None:
        """Note that the delivery was closed."""
        self.closed = True

    def accept(self, number: int) -> None:
        """Accept an attempt, counted from 0."""
        self.submitted[number][1].set_result(None)

    def fail(self, number: int, error: Exception) -> None:
        """Let an attempt, counted from 0, fail."""
        self.submitted[number][1].set_exception(error)

    @property
    def attempts(self) -> int:
        """The number of attempts."""
        return len(self.submitted)

    @property
    def stream_batches(self) -> list[StreamBatch]:
        """The stream batches of all attempts."""
        opened = [open_envelope(envelope) for envelope, _ in self.submitted]
        return [batch for batch in opened if isinstance(batch, StreamBatch)]

    @property
    def batches(self) -> list[ImpressionBatch]:
        """The impression batches that were accepted."""
        accepted = [envelope for envelope, future in self.submitted if future.done() and not future.exception()]
        opened = [open_envelope(envelope) for envelope in accepted]
        return [batch for batch in opened if isinstance(batch, ImpressionBatch)]

    @property
    def impressions(self) -> list[Impression]:
        """The impressions that were accepted."""
        return [impression for batch in self.batches for impression in batch.impressions]

    def wait_for(self, impressions: int = 0, attempts: int = 0) -> None:
        """Wait for this number of impressions and attempts."""
        with self._changed:
            assert self._changed.wait_for(
                lambda: len(self.impressions) >= impressions and self.attempts >= attempts, 10
            )
