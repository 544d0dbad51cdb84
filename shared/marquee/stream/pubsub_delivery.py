"""Delivery to a Pub/Sub topic: acceptance is the acknowledged publish."""

from __future__ import annotations

from concurrent.futures import Future

from marquee.stream.envelope import Envelope


class PubSubDelivery:
    """Publishes envelopes to ``pubsub://project/topic``."""

    def __init__(self, url: str, *, timeout_s: float) -> None:
        self.url = url

    def submit(self, envelope: Envelope) -> Future[None]:
        """See :class:`marquee.stream.delivery.Delivery`."""
        raise NotImplementedError

    def close(self) -> None:
        """See :class:`marquee.stream.delivery.Delivery`."""
