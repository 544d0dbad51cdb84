"""A subscription of the Pub/Sub server: waiting and leased messages, and the push loop."""

from __future__ import annotations

import base64
import http.client
import json
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from google.pubsub_v1 import types


@dataclass
class Message:
    """A message of one subscription; ``attempts`` counts its deliveries."""

    id: str
    data: bytes
    attributes: dict[str, str]
    attempts: int = 0

    def to_proto(self) -> types.PubsubMessage:
        """Return the message in Google's format."""
        return types.PubsubMessage(data=self.data, attributes=self.attributes, message_id=self.id)


@dataclass
class Subscription:
    """A subscription: a leased message is delivered again if it is not acknowledged before its deadline."""

    spec: types.Subscription
    dead_letter: Callable[[str, types.PubsubMessage], object]
    closed: threading.Event = field(default_factory=threading.Event)
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _waiting: deque[Message] = field(default_factory=deque)
    # The message and the end of its lease, by ack id.
    _leased: dict[str, tuple[Message, float]] = field(default_factory=dict)

    def add(self, message: Message) -> None:
        """Queue a message."""
        with self._changed:
            self._waiting.append(message)
            self._changed.notify_all()

    def backlog(self) -> int:
        """Return the number of unacknowledged messages."""
        with self._changed:
            return len(self._waiting) + len(self._leased)

    def lease(self, max_messages: int, wait_s: float) -> list[tuple[str, Message]]:
        """Return up to ``max_messages`` with their ack ids; wait up to ``wait_s`` for the first."""
        with self._changed:
            self._return_expired()
            if not self._waiting:
                self._changed.wait(wait_s)
            return [self._lease_one() for _ in range(min(max_messages, len(self._waiting)))]

    def acknowledge(self, ack_ids: Iterable[str]) -> None:
        """Remove leased messages."""
        with self._changed:
            for ack_id in ack_ids:
                self._leased.pop(ack_id, None)

    def extend(self, ack_ids: Iterable[str], seconds: float) -> None:
        """Move deadlines; 0 s returns a message at once."""
        with self._changed:
            for ack_id in ack_ids:
                if ack_id in self._leased:
                    self._leased[ack_id] = (self._leased[ack_id][0], time.monotonic() + seconds)
            self._changed.notify_all()

    def push_all(self) -> None:
        """Push one message at a time until closed, with back-off while the endpoint refuses."""
        backoff_s = 0.05
        while not self.closed.is_set():
            for ack_id, message in self.lease(1, 0.2):
                if self._push(message) or self._dead_lettered(message):
                    backoff_s = 0.05
                    self.acknowledge([ack_id])
                else:
                    self.closed.wait(backoff_s)
                    backoff_s = min(2 * backoff_s, 1.0)
                    self.extend([ack_id], 0)

    @property
    def _deadline_s(self) -> float:
        return self.spec.ack_deadline_seconds or 10.0

    def _lease_one(self) -> tuple[str, Message]:
        message = self._waiting.popleft()
        message.attempts += 1
        ack_id = f"{message.id}-{message.attempts}"
        self._leased[ack_id] = (message, time.monotonic() + self._deadline_s)
        return ack_id, message

    def _return_expired(self) -> None:
        now = time.monotonic()
        for ack_id, (message, until) in list(self._leased.items()):
            if until <= now:
                del self._leased[ack_id]
                self._waiting.append(message)

    def _dead_lettered(self, message: Message) -> bool:
        policy = self.spec.dead_letter_policy
        if not policy.dead_letter_topic or message.attempts < (policy.max_delivery_attempts or 5):
            return False
        self.dead_letter(policy.dead_letter_topic, message.to_proto())
        return True

    def _push(self, message: Message) -> bool:
        endpoint = urlsplit(self.spec.push_config.push_endpoint)
        # Pub/Sub's push timeout is the acknowledge deadline.
        connection = http.client.HTTPConnection(endpoint.hostname or "", endpoint.port, timeout=self._deadline_s)
        try:
            headers = {"Content-Type": "application/json"}
            connection.request("POST", endpoint.path or "/", self._push_body(message), headers)
            return 200 <= connection.getresponse().status < 300
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _push_body(self, message: Message) -> bytes:
        body: dict[str, Any] = {
            "message": {
                "data": base64.b64encode(message.data).decode(),
                "attributes": message.attributes,
                "messageId": message.id,
            },
            "subscription": self.spec.name,
        }
        if self.spec.dead_letter_policy.dead_letter_topic:
            body["deliveryAttempt"] = message.attempts
        return json.dumps(body).encode()
