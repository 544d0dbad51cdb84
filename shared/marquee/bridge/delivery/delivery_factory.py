"""The delivery of a URL: a function over HTTP, or a Pub/Sub topic."""

from __future__ import annotations

from urllib.parse import urlsplit

from marquee.bridge.delivery.delivery import Delivery
from marquee.errors import SettingsError


def connect_delivery(url: str, *, timeout_s: float, concurrency: int = 4) -> Delivery:
    """The delivery for ``http(s)://host/path`` or ``pubsub://project/topic``.

    ``timeout_s`` bounds each wait for the receiver, ``concurrency`` the envelopes that are under way
    at one time; further ones queue. Nothing is connected before the first envelope.
    """
    parts = urlsplit(url)
    if parts.scheme in ("http", "https") and parts.hostname:
        from marquee.bridge.delivery.http_delivery import HttpDelivery

        return HttpDelivery(url, timeout_s=timeout_s, concurrency=concurrency)
    topic = parts.path.strip("/")
    if parts.scheme == "pubsub" and parts.netloc and topic and "/" not in topic:
        from marquee.bridge.delivery.pubsub_delivery import PubSubDelivery

        return PubSubDelivery(url, parts.netloc, topic, timeout_s=timeout_s, concurrency=concurrency)
    valid = "http://host:port/path, https://host/path or pubsub://project/topic"
    raise SettingsError(f"{url!r} is no place to deliver to: it should be {valid}")
