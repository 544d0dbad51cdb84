"""A small Pub/Sub server: Google's own messages over real gRPC, with faults on request.

Topics, publish, subscriptions with pull, streaming pull and push over HTTP (wrapped, as Pub/Sub
pushes; retried with back-off until 2xx or the dead-letter topic), acknowledge deadlines. No
ordering keys, snapshots, filters or IAM.
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

MAX_PUBLISH_BYTES = 10_000_000  # Pub/Sub's own bound on one request.
_is_name = re.compile(r"projects/[a-z0-9:.-]+/topics/[A-Za-z][\w.~+%-]{2,254}").fullmatch


@dataclass
class Faults:
    """What goes wrong with the next publishes."""

    refuse: deque[grpc.StatusCode] = field(default_factory=deque)
    """Codes that the next publishes fail with, one each."""
    always: grpc.StatusCode | None = None
    """The code that every publish fails with."""
    lose_answers: int = 0
    """So many publishes are taken, and then answered with UNAVAILABLE."""
    hold: threading.Event = field(default_factory=threading.Event)
    """Answers wait for it; set unless a test clears it."""

    def __post_init__(self) -> None:
        self.hold.set()


class PubSubServer:
    """Listens on ``host`` (127.0.0.1:port) once made; set PUBSUB_EMULATOR_HOST to it."""

    def __init__(self, port: int = 0) -> None:
        self.faults = Faults()
        self.topics: set[str] = set()
        self.published: list[tuple[str, types.PubsubMessage]] = []
        self._lock = threading.Lock()
        self._subscriptions: dict[str, Subscription] = {}
        # Room for streams that stay open and for answers that are held.
        self._server = grpc.server(
            ThreadPoolExecutor(64), options=[("grpc.max_receive_message_length", 2 * MAX_PUBLISH_BYTES)]
        )
        self._server.add_generic_rpc_handlers((self._publisher(), self._subscriber()))
        self.host = f"127.0.0.1:{self._server.add_insecure_port(f'127.0.0.1:{port}')}"
        self._server.start()

    def close(self) -> None:
        self.faults.hold.set()
        for subscription in self._subscriptions.values():
            subscription.closed.set()
        self._server.stop(grace=0.2).wait()

    def create_topic(self, project: str, topic: str) -> str:
        """Make a topic without a client; returns its full name."""
        name = f"projects/{project}/topics/{topic}"
        self.topics.add(name)
        return name

    def create_push(self, project: str, name: str, topic: str, endpoint: str, **settings: Any) -> str:
        """A push subscription without a client; ``settings`` are fields of ``types.Subscription``."""
        spec = types.Subscription(
            name=f"projects/{project}/subscriptions/{name}",
            topic=f"projects/{project}/topics/{topic}",
            push_config=types.PushConfig(push_endpoint=endpoint),
            **settings,
        )
        self._add_subscription(spec)
        return str(spec.name)

    def backlog(self, subscription: str) -> int:
        """Messages of this subscription (full name) that were not acknowledged."""
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
        self._need(request.topic, self.topics, context)
        return types.Topic(name=request.topic)

    def _delete_topic(self, request: types.DeleteTopicRequest, context: grpc.ServicerContext) -> Empty:
        self._need(request.topic, self.topics, context)
        self.topics.discard(request.topic)
        return Empty()

    def _need(self, name: str, known: Any, context: grpc.ServicerContext) -> None:
        if name not in known:
            context.abort(grpc.StatusCode.NOT_FOUND, f"Resource not found (resource={name}).")

    def _publish(self, request: types.PublishRequest, context: grpc.ServicerContext) -> types.PublishResponse:
        faults = self.faults
        code = faults.always or (faults.refuse.popleft() if faults.refuse else None)
        if code is not None:
            context.abort(code, "a fault was asked for")
        self._need(request.topic, self.topics, context)
        if types.PublishRequest.pb(request).ByteSize() > MAX_PUBLISH_BYTES:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "The request exceeds 10 MB.")
        ids = [self._store(request.topic, message) for message in request.messages]
        faults.hold.wait()
        if faults.lose_answers:
            faults.lose_answers -= 1
            context.abort(grpc.StatusCode.UNAVAILABLE, "taken, but you will not know")
        return types.PublishResponse(message_ids=ids)

    def _store(self, topic: str, message: types.PubsubMessage) -> str:
        with self._lock:
            self.published.append((topic, message))
            message_id = str(len(self.published))
            for subscription in self._subscriptions.values():
                if subscription.spec.topic == topic:
                    subscription.add(Message(message_id, message.data, dict(message.attributes)))
            return message_id

    def _create_subscription(
        self, spec: types.Subscription, context: grpc.ServicerContext
    ) -> types.Subscription:
        self._need(spec.topic, self.topics, context)
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
        self._need(name, self._subscriptions, context)
        return self._subscriptions[name]

    def _delete_subscription(
        self, request: types.DeleteSubscriptionRequest, context: grpc.ServicerContext
    ) -> Empty:
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
        pass  # The client went away, in one of gRPC's many ways; its leases run out by themselves.


def _received(leased: list[tuple[str, Message]]) -> list[types.ReceivedMessage]:
    return [types.ReceivedMessage(ack_id=ack_id, message=message.to_proto()) for ack_id, message in leased]


def _unary(
    method: Callable[[Any, grpc.ServicerContext], Any], request: Any, serialize: Callable[[Any], bytes]
) -> grpc.RpcMethodHandler:
    return grpc.unary_unary_rpc_method_handler(method, request.deserialize, serialize)
