"""Delivery by POST: one CloudEvent in binary mode per request, over persistent connections."""

from __future__ import annotations

from marquee.bridge.delivery.delivery import PooledDelivery
from marquee.config.delivery_secret import DELIVERY_HEADER
from marquee.config.http_client import HttpClient
from marquee.errors import DeliveryFailed, DeliveryUnauthorized, InvalidBatch, RequestFailed
from marquee.events.envelopes import Envelope, to_http

# Answers about the envelope itself. Any other 4xx is about the address, the credentials or the moment: once that is
# fixed, the same envelope is accepted.
_UNAUTHORIZED = frozenset({401, 403})
_MAX_ANSWER = 1_000_000
_REFUSED = frozenset({400, 405, 406, 409, 410, 411, 413, 414, 415, 422, 431})


class HttpDelivery(PooledDelivery):
    """Delivery over HTTP; 2xx is acceptance. Redirects are not followed."""

    def __init__(self, url: str, *, timeout_s: float, concurrency: int, secret: str = "") -> None:
        super().__init__(url, concurrency)
        self._client = HttpClient(url, timeout_s=timeout_s, max_bytes=_MAX_ANSWER)
        self._credentials = {DELIVERY_HEADER: secret} if secret else {}

    def _disconnect(self) -> None:
        self._client.close()

    def _deliver(self, envelope: Envelope) -> None:
        headers, body = to_http(envelope)
        try:
            status, _, answer = self._client.request("POST", "", body, {**headers, **self._credentials})
        except RequestFailed as error:
            raise DeliveryFailed(f"{self.url} cannot be reached: {error}") from error
        if 200 <= status < 300:
            return
        message = f"{self.url} answered {status} to event {envelope.id}: {answer.decode(errors='replace')[:300]!r}"
        if status in _REFUSED:
            raise InvalidBatch(message, envelope.data)
        raise DeliveryUnauthorized(message) if status in _UNAUTHORIZED else DeliveryFailed(message)
