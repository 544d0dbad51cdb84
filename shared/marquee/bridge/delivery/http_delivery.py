"""Delivery by POST: one CloudEvent in binary mode a request, over connections that are kept."""

from __future__ import annotations

from marquee.bridge.delivery.delivery import PooledDelivery
from marquee.config.http_client import HttpClient
from marquee.errors import DeliveryFailed, InvalidBatch, RequestFailed
from marquee.events.envelopes import Envelope, to_http

# The answers that speak of the envelope itself. Any other 4xx speaks of the address, of credentials
# or of the moment, and once that is mended the same envelope is welcome.
_REFUSED = frozenset({400, 405, 406, 409, 410, 411, 413, 414, 415, 422, 431})


class HttpDelivery(PooledDelivery):
    """Posts envelopes; 2xx is acceptance. Redirects are not followed."""

    def __init__(self, url: str, *, timeout_s: float, concurrency: int) -> None:
        super().__init__(url, concurrency)
        self._client = HttpClient(url, timeout_s=timeout_s)

    def _disconnect(self) -> None:
        self._client.close()

    def _deliver(self, envelope: Envelope) -> None:
        headers, body = to_http(envelope)
        try:
            status, _, answer = self._client.request("POST", "", body, headers)
        except RequestFailed as error:
            raise DeliveryFailed(f"{self.url} cannot be reached: {error}") from error
        if 200 <= status < 300:
            return
        said = f"{self.url} answered {status} to event {envelope.id}: {answer.decode(errors='replace')[:300]!r}"
        if status in _REFUSED:
            raise InvalidBatch(said, envelope.data)
        raise DeliveryFailed(said)
