"""Delivery by POST: one CloudEvent in binary mode a request, over connections that are kept."""

from __future__ import annotations

import ssl
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from queue import Empty, LifoQueue
from urllib.parse import urlsplit

from marquee.bridge.delivery.delivery import PooledDelivery
from marquee.errors import DeliveryFailed, InvalidBatch
from marquee.events.envelopes import Envelope, to_http

# The answers that speak of the envelope itself. Any other 4xx speaks of the address, of credentials
# or of the moment, and once that is mended the same envelope is welcome.
_REFUSED = frozenset({400, 405, 406, 409, 410, 411, 413, 414, 415, 422, 431})


class HttpDelivery(PooledDelivery):
    """Posts envelopes; 2xx is acceptance. Redirects are not followed."""

    def __init__(self, url: str, *, timeout_s: float, concurrency: int) -> None:
        super().__init__(url, concurrency)
        parts = urlsplit(url)
        self._secure = parts.scheme == "https"
        self._host, self._port = parts.hostname or "", parts.port
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._timeout_s = timeout_s
        self._idle: LifoQueue[HTTPConnection] = LifoQueue()

    def _disconnect(self) -> None:
        while not self._idle.empty():
            self._idle.get_nowait().close()

    def _deliver(self, envelope: Envelope) -> None:
        headers, body = to_http(envelope)
        status, answer = self._post(headers, body)
        if 200 <= status < 300:
            return
        said = f"{self.url} answered {status} to event {envelope.id}: {answer[:300]!r}"
        if status in _REFUSED:
            raise InvalidBatch(said, envelope.data)
        raise DeliveryFailed(said)

    def _post(self, headers: dict[str, str], body: bytes) -> tuple[int, str]:
        try:
            try:
                return self._post_over(self._idle.get_nowait(), headers, body)
            except (Empty, ConnectionError):
                # None is kept, or the receiver has closed it meanwhile, which only a new one can tell.
                return self._post_over(self._connection(), headers, body)
        except (OSError, HTTPException) as error:
            raise DeliveryFailed(f"{self.url} cannot be reached: {type(error).__name__}: {error}") from error

    def _post_over(self, connection: HTTPConnection, headers: dict[str, str], body: bytes) -> tuple[int, str]:
        try:
            connection.request("POST", self._target, body, headers)
            response = connection.getresponse()
            answer = response.read().decode(errors="replace")
        except BaseException:
            connection.close()
            raise
        self._idle.put(connection)
        return response.status, answer

    def _connection(self) -> HTTPConnection:
        if self._secure:
            context = ssl.create_default_context()
            return HTTPSConnection(self._host, self._port, timeout=self._timeout_s, context=context)
        return HTTPConnection(self._host, self._port, timeout=self._timeout_s)
