"""Protocol of deliveries, which send envelopes to a function over HTTP or to a Pub/Sub topic.

A future that resolves without an error means that the receiver has accepted the envelope, and is
responsible for it from then on.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Protocol

from marquee.config.masking import mask_password
from marquee.errors import DeliveryFailed
from marquee.events.envelopes import Envelope

CLOSE_S = 5.0
"""A receiver that never ends its answer must not keep the process; what was not accepted is sent again."""


class Delivery(Protocol):
    """A destination of envelopes; safe to use from many threads."""

    def submit(self, envelope: Envelope) -> Future[None]:
        """Send an envelope once.

        The future resolves when the envelope is accepted. It raises ``InvalidBatch`` if the receiver will
        never accept it, and otherwise ``DeliveryFailed``: the network, a timeout, 5xx, 429, a wrong
        address or wrong credentials. A failed envelope may have been accepted.
        """

    def close(self) -> None:
        """Wait up to :data:`CLOSE_S` for the envelopes in flight, and close the connections."""


class PooledDelivery(ABC):
    """A delivery with a pool of ``concurrency`` threads, each of which sends one envelope at a time."""

    def __init__(self, url: str, concurrency: int) -> None:
        # For messages only.
        self.url = mask_password(url)
        self._threads = ThreadPoolExecutor(concurrency, thread_name_prefix="delivery")
        self._in_flight: set[Future[None]] = set()

    def submit(self, envelope: Envelope) -> Future[None]:
        """See :class:`Delivery`."""
        try:
            future = self._threads.submit(self._deliver, envelope)
        except RuntimeError as error:
            failed: Future[None] = Future()
            failed.set_exception(DeliveryFailed(f"the delivery to {self.url} is closed: {error}"))
            return failed
        self._in_flight.add(future)
        future.add_done_callback(self._in_flight.discard)
        return future

    def close(self) -> None:
        """See :class:`Delivery`."""
        wait(list(self._in_flight), CLOSE_S)
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._disconnect()

    @abstractmethod
    def _deliver(self, envelope: Envelope) -> None:
        """Send an envelope, and return when it is accepted. Raises the errors of ``submit``."""

    @abstractmethod
    def _disconnect(self) -> None:
        """Close the connections."""
