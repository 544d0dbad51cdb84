"""One subscription of the Pub/Sub server: what waits, what is leased, and the push loop."""

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
    """A message as one subscription sees it: ``attempts`` counts its deliveries."""

    id: str
    data: bytes
    attributes: dict[str, str]
    attempts: int = 0

    def to_proto(self) -> types.PubsubMessage:
        return types.PubsubMessage(data=self.data, attributes=self.attributes, message_id=self.id)


@dataclass
class Subscription:
    """At least once: a leased message comes back when its deadline passes without an acknowledgement."""

    spec: types.Subscription
    dead_letter: Callable[[str, types.PubsubMessage], object]
    closed: threading.Event = field(default_factory=threading.Event)
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _waiting: deque[Message] = field(default_factory=deque)
    # ack id -> message, and when it comes back.
    _leased: dict[str, tuple[Message, float]] = field(default_factory=dict)

    def add(self, message: Message) -> None:
        with self._changed:
            self._waiting.append(message)
            self._changed.notify_all()

    def backlog(self) -> int:
        """How many messages were not acknowledged."""
        with self._changed:
            return len(self._waiting) + len(self._leased)

    def lease(self, most: int, wait_s: float) -> list[tuple[str, Message]]:
        """Up to ``most`` messages with their ack ids; waits a while for the first."""
        with self._changed:
            self._return_expired()
            if not self._waiting:
                self._changed.wait(wait_s)
            return [self._lease_one() for _ in range(min(most, len(self._waiting)))]

    def acknowledge(self, ack_ids: Iterable[str]) -> None:
        with self._changed:
            for ack_id in ack_ids:
                self._leased.pop(ack_id, None)

    def extend(self, ack_ids: Iterable[str], seconds: float) -> None:
        """Move deadlines; 0 s gives a message back at once."""
        with self._changed:
            for ack_id in ack_ids:
                if ack_id in self._leased:
                    self._leased[ack_id] = (self._leased[ack_id][0], time.monotonic() + seconds)
            self._changed.notify_all()

    def push_all(self) -> None:
        """Push until closed: one message at a time, with back-off while the endpoint refuses."""
        backoff_s = 0.05
        while not self.closed.is_set():
            for ack_id, message in self.lease(1, 0.2):
                if self._push(message) or self._buried(message):
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

    def _buried(self, message: Message) -> bool:
        policy = self.spec.dead_letter_policy
        if not policy.dead_letter_topic or message.attempts < (policy.max_delivery_attempts or 5):
            return False
        self.dead_letter(policy.dead_letter_topic, message.to_proto())
        return True

    def _push(self, message: Message) -> bool:
        endpoint = urlsplit(self.spec.push_config.push_endpoint)
        # Pub/Sub waits for as long as the acknowledge deadline.
        connection = http.client.HTTPConnection(
            endpoint.hostname or "", endpoint.port, timeout=self._deadline_s
        )
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
