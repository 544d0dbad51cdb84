"""Delivery to a Pub/Sub topic: acceptance is the acknowledged publish.

A message is one CloudEvent: in binary mode the attributes are those of the HTTP headers and the data
is the body, so that a push that unwraps its payload is itself a CloudEvent over HTTP.

The generated client is called from our own threads, one message a request: an envelope is a batch
already, and the library's background batching drops a message without a word when a token cannot be
refreshed.
"""

from __future__ import annotations

from threading import Lock
from typing import Any

from marquee.bridge.delivery.delivery import PooledDelivery
from marquee.errors import DeliveryFailed, InvalidBatch
from marquee.events.envelopes import Envelope, to_http


class PubSubDelivery(PooledDelivery):
    """Publishes to one topic; ``PUBSUB_EMULATOR_HOST`` is honoured by Google's library."""

    def __init__(self, url: str, project: str, topic: str, *, timeout_s: float, concurrency: int) -> None:
        super().__init__(url, concurrency)
        self._topic = f"projects/{project}/topics/{topic}"
        self._timeout_s = timeout_s
        self._lock = Lock()
        self._client: Any = None

    def _deliver(self, envelope: Envelope) -> None:
        from google.api_core.exceptions import GoogleAPICallError, InvalidArgument
        from google.auth.exceptions import GoogleAuthError

        try:
            self._publish(envelope)
        except InvalidArgument as error:
            raise InvalidBatch(f"{self.url} refuses event {envelope.id}: {error}", envelope.data) from error
        except (GoogleAPICallError, GoogleAuthError) as error:
            raise DeliveryFailed(f"{self.url} did not take event {envelope.id}: {error}") from error

    def _publish(self, envelope: Envelope) -> None:
        from google.pubsub_v1 import PublisherClient, PubsubMessage

        attributes, data = to_http(envelope)
        message = PubsubMessage(data=data, attributes=attributes)
        # The method of the generated class: the hand-written one above it is the one that batches.
        # It is tried once: whoever submitted decides when to try again.
        PublisherClient.publish(
            self._connected(), topic=self._topic, messages=[message], retry=None, timeout=self._timeout_s
        )

    def _connected(self) -> Any:
        with self._lock:
            if self._client is None:
                from google.cloud.pubsub_v1 import PublisherClient

                self._client = PublisherClient()
            return self._client

    def _disconnect(self) -> None:
        if self._client is not None:
            self._client.transport.close()
