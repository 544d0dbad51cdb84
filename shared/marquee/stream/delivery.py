"""Bringing envelopes to whoever takes them: a function over HTTP, or a Pub/Sub topic.

The one thing that is promised: a future that resolves without an error means that the receiver
has accepted the envelope, and answers for it from then on.
"""

from __future__ import annotations

from concurrent.futures import Future
from typing import Protocol
from urllib.parse import urlsplit

from marquee.errors import SettingsError
from marquee.stream.envelope import Envelope


class Delivery(Protocol):
    """Where envelopes go. May be used from many threads."""

    def submit(self, envelope: Envelope) -> Future[None]:
        """Send it, once.

        The future resolves when it was accepted, or raises ``DeliveryFailed`` (network, time-out,
        408, 429, 5xx: it may succeed later, and may have been accepted already) or ``InvalidBatch``
        (the receiver will never accept this one).
        """

    def close(self) -> None:
        """Wait for what is under way, and let the connections go."""


def connect(url: str, *, timeout_s: float, concurrency: int = 4) -> Delivery:
    """The delivery for ``http(s)://host/path`` or ``pubsub://project/topic``.

    ``timeout_s`` bounds one delivery, ``concurrency`` the deliveries over HTTP at one time. Nothing is
    connected before the first envelope.
    """
    scheme = urlsplit(url).scheme
    if scheme in ("http", "https"):
        from marquee.stream.http_delivery import HttpDelivery

        return HttpDelivery(url, timeout_s=timeout_s, concurrency=concurrency)
    if scheme == "pubsub":
        from marquee.stream.pubsub_delivery import PubSubDelivery

        return PubSubDelivery(url, timeout_s=timeout_s)
    raise SettingsError(
        f"{url!r} is no place to deliver to: http://host:port/, https:// or pubsub://project/topic"
    )
