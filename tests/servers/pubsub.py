"""A small Pub/Sub server with Google's messages over real gRPC, and faults on request.

It has topics, publish, acknowledge deadlines, and subscriptions with pull, streaming pull and push over HTTP
(wrapped, retried with back-off until 2xx or the dead-letter topic). It has no ordering keys, snapshots,
filters or IAM.
"""

from __future__ import annotations

import re
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf.empty_pb2 import Empty
from google.pubsub_v1 import types
from tests.servers.subscription import Message, Subscription

MAX_PUBLISH_BYTES = 10_000_000  # Pub/Sub's limit of one request.
_is_name = re.compile(r"projects/[a-z0-9:.-]+/topics/[A-Za-z][\w.~+%-]{2,254}").fullmatch


@dataclass
class Faults:
    """Faults of the next publishes."""

    refuse: deque[grpc.StatusCode] = field(default_factory=deque)
    """Codes of the next publishes, one each."""
    always: grpc.StatusCode | None = None
    """The code of every publish."""
    lose_answers: int = 0
    """The number of publishes that are stored and answered with UNAVAILABLE."""
    hold: threading.Event = field(default_factory=threading.Event)
    """Answers wait for this event; it is set unless a test clears it."""

    def __post_init__(self) -> None:
        self.hold.set()


class PubSubServer:
    """A server on ``host`` (127.0.0.1:port); set PUBSUB_EMULATOR_HOST to it."""

    def __init__(self, port: int = 0) -> None:
        self.faults = Faults()
        self.topics: set[str] = set()
        self.published: list[tuple[str, types.PubsubMessage]] = []
        self._lock = threading.Lock()
        self._subscriptions: dict[str, Subscription] = {}
        # Threads for open streams and held answers.
        self._server = grpc.server(
            ThreadPoolExecutor(64), options=[("grpc.max_receive_message_length", 2 * MAX_PUBLISH_BYTES)]
        )
        self._server.add_generic_rpc_handlers((self._publisher(), self._subscriber()))
        self.host = f"127.0.0.1:{self._server.add_insecure_port(f'127.0.0.1:{port}')}"
        self._server.start()

    def close(self) -> None:
        """Stop the server."""
        self.faults.hold.set()
        for subscription in self._subscriptions.values():
            subscription.closed.set()
        self._server.stop(grace=0.2).wait()

    def create_topic(self, project: str, topic: str) -> str:
        """Create a topic without a client; return its full name."""
        name = f"projects/{project}/topics/{topic}"
        self.topics.add(name)
        return name

    def create_push(self, project: str, name: str, topic: str, endpoint: str, **settings: Any) -> str:
        """Create a push subscription without a client; return its full name.

        ``settings`` are fields of ``types.Subscription``.
        """
        spec = types.Subscription(
            name=f"projects/{project}/subscriptions/{name}",
            topic=f"projects/{project}/topics/{topic}",
            push_config=types.PushConfig(push_endpoint=endpoint),
            **settings,
        )
        self._add_subscription(spec)
        return str(spec.name)

    def backlog(self, subscription: str) -> int:
        """Return the number of unacknowledged messages of a subscription, given by its full name."""
        return self._subscriptions[subscription].backlog()

    def _publisher(self) -> grpc.GenericRpcHandler:
        t = types
        methods = {
            "CreateTopic": _unary(self._create_topic, t.Topic, t.Topic.serialize),
            "GetTopic": _unary(self._get_topic, t.GetTopicRequest, t.Topic.serialize),
            "DeleteTopic": _unary(self._delete_topic, t.DeleteTopicRequest, Empty.SerializeToString),
            "Publish": _unary(self._publish, t.PublishRequest, t.PublishResponse.serialize),
        }
        return grpc.method_handlers_generic_handler("google.pubsub.v1.Publisher", methods)

    def _subscriber(self) -> grpc.GenericRpcHandler:
        t, empty = types, Empty.SerializeToString
        methods = {
            "CreateSubscription": _unary(self._create_subscription, t.Subscription, t.Subscription.serialize),
            "DeleteSubscription": _unary(self._delete_subscription, t.DeleteSubscriptionRequest, empty),
            "Pull": _unary(self._pull, t.PullRequest, t.PullResponse.serialize),
            "Acknowledge": _unary(self._acknowledge, t.AcknowledgeRequest, empty),
            "ModifyAckDeadline": _unary(self._modify, t.ModifyAckDeadlineRequest, empty),
            "StreamingPull": grpc.stream_stream_rpc_method_handler(
                self._streaming_pull, t.StreamingPullRequest.deserialize, t.StreamingPullResponse.serialize
            ),
        }
        return grpc.method_handlers_generic_handler("google.pubsub.v1.Subscriber", methods)

    def _create_topic(self, topic: types.Topic, context: grpc.ServicerContext) -> types.Topic:
        if not _is_name(topic.name):
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"Invalid [topics] name: (name={topic.name})")
        if topic.name in self.topics:
            context.abort(grpc.StatusCode.ALREADY_EXISTS, topic.name)
        self.topics.add(topic.name)
        return topic

    def _get_topic(self, request: types.GetTopicRequest, context: grpc.ServicerContext) -> types.Topic:
        self._require(request.topic, self.topics, context)
        return types.Topic(name=request.topic)

    def _delete_topic(self, request: types.DeleteTopicRequest, context: grpc.ServicerContext) -> Empty:
        self._require(request.topic, self.topics, context)
        self.topics.discard(request.topic)
        return Empty()

    def _require(self, name: str, known: Any, context: grpc.ServicerContext) -> None:
        if name not in known:
            context.abort(grpc.StatusCode.NOT_FOUND, f"Resource not found (resource={name}).")

    def _publish(self, request: types.PublishRequest, context: grpc.ServicerContext) -> types.PublishResponse:
        faults = self.faults
        code = faults.always or (faults.refuse.popleft() if faults.refuse else None)
        if code is not None:
            context.abort(code, "a planned fault")
        self._require(request.topic, self.topics, context)
        if types.PublishRequest.pb(request).ByteSize() > MAX_PUBLISH_BYTES:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "The request exceeds 10 MB.")
        ids = [self._store(request.topic, message) for message in request.messages]
        faults.hold.wait()
        if faults.lose_answers:
            faults.lose_answers -= 1
            context.abort(grpc.StatusCode.UNAVAILABLE, "stored, but the answer is lost")
        return types.PublishResponse(message_ids=ids)

    def _store(self, topic: str, message: types.PubsubMessage) -> str:
        with self._lock:
            self.published.append((topic, message))
            message_id = str(len(self.published))
            for subscription in self._subscriptions.values():
                if subscription.spec.topic == topic:
                    subscription.add(Message(message_id, message.data, dict(message.attributes)))
            return message_id

    def _create_subscription(self, spec: types.Subscription, context: grpc.ServicerContext) -> types.Subscription:
        self._require(spec.topic, self.topics, context)
        if spec.name in self._subscriptions:
            context.abort(grpc.StatusCode.ALREADY_EXISTS, spec.name)
        self._add_subscription(spec)
        return spec

    def _add_subscription(self, spec: types.Subscription) -> None:
        subscription = Subscription(spec, self._store)
        with self._lock:
            self._subscriptions[spec.name] = subscription
        if spec.push_config.push_endpoint:
            threading.Thread(target=subscription.push_all, daemon=True).start()

    def _find(self, name: str, context: grpc.ServicerContext) -> Subscription:
        self._require(name, self._subscriptions, context)
        return self._subscriptions[name]

    def _delete_subscription(self, request: types.DeleteSubscriptionRequest, context: grpc.ServicerContext) -> Empty:
        self._find(request.subscription, context).closed.set()
        with self._lock:
            del self._subscriptions[request.subscription]
        return Empty()

    def _pull(self, request: types.PullRequest, context: grpc.ServicerContext) -> types.PullResponse:
        leased = self._find(request.subscription, context).lease(request.max_messages, 1.0)
        return types.PullResponse(received_messages=_received(leased))

    def _acknowledge(self, request: types.AcknowledgeRequest, context: grpc.ServicerContext) -> Empty:
        self._find(request.subscription, context).acknowledge(request.ack_ids)
        return Empty()

    def _modify(self, request: types.ModifyAckDeadlineRequest, context: grpc.ServicerContext) -> Empty:
        subscription = self._find(request.subscription, context)
        subscription.extend(request.ack_ids, request.ack_deadline_seconds)
        return Empty()

    def _streaming_pull(
        self, requests: Iterator[types.StreamingPullRequest], context: grpc.ServicerContext
    ) -> Iterator[types.StreamingPullResponse]:
        subscription = self._find(next(requests).subscription, context)
        threading.Thread(target=_read_acks, args=(requests, subscription), daemon=True).start()
        while context.is_active() and not subscription.closed.is_set():
            if leased := subscription.lease(100, 0.2):
                yield types.StreamingPullResponse(received_messages=_received(leased))


def _read_acks(requests: Iterator[types.StreamingPullRequest], subscription: Subscription) -> None:
    try:
        for request in requests:
            subscription.acknowledge(request.ack_ids)
            moved = zip(request.modify_deadline_ack_ids, request.modify_deadline_seconds, strict=True)
            for ack_id, seconds in moved:
                subscription.extend([ack_id], seconds)
    except Exception:
        pass  # The client disconnected; gRPC raises different errors for it. Its leases expire.


def _received(leased: list[tuple[str, Message]]) -> list[types.ReceivedMessage]:
    return [types.ReceivedMessage(ack_id=ack_id, message=message.to_proto()) for ack_id, message in leased]


def _unary(
    method: Callable[[Any, grpc.ServicerContext], Any], request: Any, serialize: Callable[[Any], bytes]
) -> grpc.RpcMethodHandler:
    return grpc.unary_unary_rpc_method_handler(method, request.deserialize, serialize)
