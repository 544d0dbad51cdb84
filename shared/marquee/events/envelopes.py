"""Envelopes of batches: CloudEvents 1.0 over HTTP or Pub/Sub.

Over HTTP, binary and structured mode are accepted, and a Pub/Sub push of either: wrapped by Pub/Sub, by
Eventarc, or unwrapped (payload unwrapping). See
https://github.com/cloudevents/spec and https://cloud.google.com/pubsub/docs/push.
"""

from __future__ import annotations

import zlib
from base64 import b64decode
from codecs import BOM_UTF8
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import lt
from urllib.parse import unquote

import msgspec
from cloudevents.conversion import to_binary, to_structured
from cloudevents.http import CloudEvent
from cloudevents.http.conversion import from_http as decode_cloudevent

from marquee.errors import InvalidBatch
from marquee.events.batches import ImpressionBatch, StreamBatch

STREAM_BATCH = "marquee.stream-batch.v1"
IMPRESSIONS = "marquee.impressions.v1"
# Eventarc wraps a Pub/Sub push in a CloudEvent of its own.
EVENTARC_PUSH = "google.cloud.pubsub.topic.v1.messagePublished"

MAX_BODY_BYTES = 16 * 2**20
"""Bytes of one delivery, also when decompressed. A batch of the bridge has 4 MB, or is one record."""

_encode = msgspec.json.Encoder().encode
_decoders: dict[str, msgspec.json.Decoder[StreamBatch] | msgspec.json.Decoder[ImpressionBatch]] = {
    STREAM_BATCH: msgspec.json.Decoder(StreamBatch),
    IMPRESSIONS: msgspec.json.Decoder(ImpressionBatch),
}
BATCH_TYPES = tuple(_decoders)
"""The types of Marquee's CloudEvents."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """One CloudEvent: ``data`` is JSON in UTF-8; (``source``, ``id``) identifies the event permanently."""

    id: str
    type: str
    source: str
    time: datetime
    data: bytes


def encode_batch(batch: StreamBatch | ImpressionBatch) -> Envelope:
    """Return the envelope of a batch."""
    now = datetime.now(UTC)
    if isinstance(batch, StreamBatch):
        return Envelope(batch.id, STREAM_BATCH, f"/kafka/topics/{batch.topic_id}", now, _encode(batch))
    return Envelope(batch.id, IMPRESSIONS, "/marquee/recommend", now, _encode(batch))


def open_envelope(envelope: Envelope) -> StreamBatch | ImpressionBatch:
    """Return the batch of an envelope. Raises :class:`InvalidBatch` if its data is not valid for its type."""
    decoder = _decoders.get(envelope.type)
    if decoder is None:
        raise InvalidBatch(
            f"event {envelope.id!r} is of type {envelope.type!r}; valid types are {', '.join(_decoders)}",
            envelope.data,
        )
    try:
        batch: StreamBatch | ImpressionBatch = decoder.decode(envelope.data.removeprefix(BOM_UTF8))
        _check(batch)
    # msgspec reports bytes that are not UTF-8 as a UnicodeDecodeError, and deep nesting as a RecursionError.
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise InvalidBatch(f"event {envelope.id!r} is not a valid {envelope.type}: {error}", envelope.data) from error
    return batch


def _check(batch: StreamBatch | ImpressionBatch) -> None:
    if isinstance(batch, ImpressionBatch):
        if any(impression.time.tzinfo is None for impression in batch.impressions):
            raise ValueError("an impression's time has no time zone")
        return
    if not batch.records:
        raise ValueError("it holds no records")
    offsets = [record.offset for record in batch.records]
    if offsets[0] < 0 or not all(map(lt, offsets, offsets[1:])):
        last = -1
        for offset in offsets:
            if offset <= last:
                raise ValueError(f"offset {offset} comes after {last}")
            last = offset
    if batch.since is not None and not 0 <= batch.since <= offsets[0]:
        raise ValueError(
            f"since is {batch.since}: it should be an offset from 0 to that of the first record, {offsets[0]}"
        )
    for record in batch.records:
        if record.text is None or record.base64 is not None:
            if record.text is not None or record.base64 is None:
                raise ValueError(f"the record at offset {record.offset} needs either text or base64")
            _ = record.raw  # Raises if the base64 is invalid, so that later stages need not check.


def to_http(envelope: Envelope, *, structured: bool = False) -> tuple[dict[str, str], bytes]:
    """Return the headers (lower case) and the body; in binary mode the body is the data itself."""
    attributes = {
        "id": envelope.id,
        "type": envelope.type,
        "source": envelope.source,
        "time": envelope.time.isoformat(),
        "datacontenttype": "application/json",
    }
    event = CloudEvent(attributes, envelope.data)
    return to_structured(event) if structured else to_binary(event, data_marshaller=lambda data: data)


def from_http(headers: Mapping[str, str], body: bytes) -> Envelope:
    """Return the envelope of a request. Raises :class:`InvalidBatch` with the body if it is not valid."""
    lowered = {name.lower(): value for name, value in headers.items()}
    try:
        content = _decode_content(lowered.get("content-encoding", "identity"), body)
        if "ce-specversion" not in lowered and not _is_structured(lowered):
            return _from_push(content)
        # The HTTP binding of CloudEvents percent-encodes the values of its headers.
        decoded = {name: unquote(text) if name.startswith("ce-") else text for name, text in lowered.items()}
        envelope = _from_cloudevent(decoded, content)
        return _from_push(envelope.data) if envelope.type == EVENTARC_PUSH else envelope
    except InvalidBatch as error:
        raise InvalidBatch(str(error), body) from error


def _decode_content(encoding: str, body: bytes) -> bytes:
    """Return the body without its compression and without a byte order mark; raises InvalidBatch."""
    if encoding.strip().lower() in ("gzip", "x-gzip"):
        try:
            inflate = zlib.decompressobj(wbits=31)
            body = inflate.decompress(body, MAX_BODY_BYTES + 1)
        except zlib.error as error:
            raise InvalidBatch(f"the body is not gzip, as its content-encoding says: {error}") from error
        if len(body) > MAX_BODY_BYTES or not inflate.eof:
            raise InvalidBatch(f"the gzip body is cut, or has more than {MAX_BODY_BYTES} bytes")
    return body.removeprefix(BOM_UTF8)


def _is_structured(headers: Mapping[str, str]) -> bool:
    return headers.get("content-type", "").lower().startswith("application/cloudevents")


def _from_cloudevent(headers: Mapping[str, str], body: bytes) -> Envelope:
    try:
        event = decode_cloudevent(headers, body, data_unmarshaller=lambda data: data)
        time = datetime.fromisoformat(event["time"])
    # The library does not translate its internal errors; any error means that this is not a CloudEvent.
    except Exception as error:
        raise InvalidBatch(f"not a CloudEvent 1.0: {type(error).__name__}: {error}", body) from error
    if time.tzinfo is None:
        raise InvalidBatch(f"the event's time has no time zone: {event['time']!r}", body)
    for name in ("id", "type", "source"):
        if not isinstance(event[name], str):  # In structured mode the library accepts any JSON value.
            raise InvalidBatch(
                f"not a CloudEvent 1.0: its {name} is {str(event[name])[:80]!a}, which is not text", body
            )
    data = event.data
    if data is None or isinstance(data, str):
        data = (data or "").encode()
    elif not isinstance(data, bytes):  # Structured mode: the data is part of the document.
        data = _encode(data)
    return Envelope(event["id"], event["type"], event["source"], time, data)


class _Message(msgspec.Struct):
    data: str = ""
    attributes: dict[str, str] = {}


class _Push(msgspec.Struct):
    message: _Message
    subscription: str


_decode_push = msgspec.json.Decoder(_Push).decode


def _from_push(body: bytes) -> Envelope:
    try:
        push = _decode_push(body)
        data = b64decode(push.message.data, validate=True)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise InvalidBatch(f"neither a CloudEvent nor a Pub/Sub push: {error}", body) from error
    attributes = {name.lower(): value for name, value in push.message.attributes.items()}
    if "ce-specversion" not in attributes and not _is_structured(attributes):
        name = push.subscription[:200]
        raise InvalidBatch(f"message of {name!a} holds no CloudEvent: it has no ce- attributes", body)
    return _from_cloudevent(attributes, data)
