"""Delivery to a Pub/Sub topic; acceptance is the acknowledged publish.

A message is one CloudEvent in binary mode: its attributes are the HTTP headers and its data is the body,
so a push with payload unwrapping is itself a CloudEvent over HTTP.

The generated client is called from the delivery's own threads, with one message per request: an envelope
is a batch already, and the library's background batching silently drops a message if a token cannot be
refreshed.
"""

from __future__ import annotations

from threading import Lock
from typing import Any

from marquee.bridge.delivery.delivery import PooledDelivery
from marquee.errors import DeliveryFailed, InvalidBatch
from marquee.events.envelopes import Envelope, to_http


class PubSubDelivery(PooledDelivery):
    """Publisher to one topic; Google's library honors ``PUBSUB_EMULATOR_HOST``."""

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
            raise DeliveryFailed(f"{self.url} did not accept event {envelope.id}: {error}") from error

    def _publish(self, envelope: Envelope) -> None:
        from google.pubsub_v1 import PublisherClient, PubsubMessage

        attributes, data = to_http(envelope)
        message = PubsubMessage(data=data, attributes=attributes)
        # The method of the generated class, because the hand-written class on top of it batches.
        # One attempt: the bridge decides when to retry.
        PublisherClient.publish(
            self._connect(), topic=self._topic, messages=[message], retry=None, timeout=self._timeout_s
        )

    def _connect(self) -> Any:
        with self._lock:
            if self._client is None:
                from google.cloud.pubsub_v1 import PublisherClient

                self._client = PublisherClient()
            return self._client

    def _disconnect(self) -> None:
        if self._client is not None:
            self._client.transport.close()
