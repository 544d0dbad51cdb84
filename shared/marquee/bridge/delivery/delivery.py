"""Bringing envelopes to whoever takes them: a function over HTTP, or a Pub/Sub topic.

The one thing that is promised: a future that resolves without an error means that the receiver
has accepted the envelope, and answers for it from then on.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

from marquee.errors import DeliveryFailed
from marquee.events.envelopes import Envelope


class Delivery(Protocol):
    """Where envelopes go. May be used from many threads."""

    def submit(self, envelope: Envelope) -> Future[None]:
        """Send it, once.

        The future resolves when it was accepted, or raises ``DeliveryFailed`` (it may succeed later,
        and may have been accepted already: network, time-out, 5xx, 429, a wrong address or
        credentials) or ``InvalidBatch`` (the receiver will never accept this one).
        """

    def close(self) -> None:
        """Wait for what is under way, and let the connections go."""


class PooledDelivery(ABC):
    """A delivery whose envelopes are sent one a thread, by as many threads as may be under way at once."""

    def __init__(self, url: str, concurrency: int) -> None:
        self.url = url
        self._threads = ThreadPoolExecutor(concurrency, thread_name_prefix="delivery")

    def submit(self, envelope: Envelope) -> Future[None]:
        """See :class:`Delivery`."""
        try:
            return self._threads.submit(self._deliver, envelope)
        except RuntimeError as error:
            failed: Future[None] = Future()
            failed.set_exception(DeliveryFailed(f"the delivery to {self.url} is closed: {error}"))
            return failed

    def close(self) -> None:
        """See :class:`Delivery`."""
        self._threads.shutdown(wait=True)
        self._disconnect()

    @abstractmethod
    def _deliver(self, envelope: Envelope) -> None:
        """Send it and return once it was accepted; raises as ``submit`` says."""

    @abstractmethod
    def _disconnect(self) -> None:
        """Let the connections go."""
