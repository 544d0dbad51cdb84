"""Factory of deliveries by URL."""

from __future__ import annotations

from urllib.parse import urlsplit

from marquee.bridge.delivery.delivery import Delivery
from marquee.config.masking import mask_password
from marquee.errors import SettingsError


def connect_delivery(url: str, *, timeout_s: float, concurrency: int = 4, secret: str = "") -> Delivery:
    """Return the delivery for ``http(s)://host/path`` or ``pubsub://project/topic``.

    ``timeout_s`` limits each wait for the receiver, in seconds. ``concurrency`` limits the envelopes in
    flight; further ones wait in a queue. ``secret`` is sent over HTTP only. The delivery connects
    when it sends the first envelope.
    """
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise SettingsError(f"{mask_password(url)!r} is not a URL: {error}") from None
    if parts.scheme in ("http", "https") and parts.hostname:
        from marquee.bridge.delivery.http_delivery import HttpDelivery

        return HttpDelivery(url, timeout_s=timeout_s, concurrency=concurrency, secret=secret)
    topic = parts.path.strip("/")
    if parts.scheme == "pubsub" and parts.netloc and topic and "/" not in topic:
        from marquee.bridge.delivery.pubsub_delivery import PubSubDelivery

        return PubSubDelivery(url, parts.netloc, topic, timeout_s=timeout_s, concurrency=concurrency)
    valid = "http://host:port/path, https://host/path or pubsub://project/topic"
    raise SettingsError(f"{mask_password(url)!r} is not a delivery URL: it should be {valid}")
