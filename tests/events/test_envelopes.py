"""Envelope tests: batches survive every transport, and invalid deliveries are refused with their body."""

from __future__ import annotations

import gzip
import json
from base64 import b64encode
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marquee.errors import InvalidBatch
from marquee.events.batches import Impression, ImpressionBatch, ImpressionMovie, StreamBatch, make_record
from marquee.events.envelopes import Envelope, encode_batch, from_http, open_envelope, to_http

BATCH = StreamBatch(
    "movielog1",
    "AaIJLc23drG8947-mfdxpw",
    1,
    (make_record(7, 1_700_000_000_000, b"a,b"), make_record(9, -1, b"\xff\x00")),
)
IMPRESSIONS = ImpressionBatch(
    "9f1c",
    (
        Impression(
            "r1",
            datetime(2026, 2, 14, 0, 9, 20, 426000, UTC),
            "219411",
            "candidate",
            "20260214T000000-89abcdef",
            3,
            "personalised",
            (ImpressionMovie("m*a*s*h+1970", 2.5, 4.25, 1.0), ImpressionMovie("61*+2001", 1.0, None, 0.5)),
        ),
    ),
)


def _push_body(envelope: Envelope, *, structured: bool) -> bytes:
    headers, body = to_http(envelope, structured=structured)
    message = {"data": b64encode(body).decode(), "attributes": headers, "messageId": "1"}
    return json.dumps({"message": message, "subscription": "projects/p/subscriptions/s"}).encode()


def _eventarc(envelope: Envelope) -> tuple[dict[str, str], bytes]:
    wrapper = Envelope(
        "1",
        "google.cloud.pubsub.topic.v1.messagePublished",
        "//pubsub.googleapis.com/projects/p/topics/t",
        envelope.time,
        _push_body(envelope, structured=False),
    )
    return to_http(wrapper)


TRANSPORTS: dict[str, Callable[[Envelope], tuple[dict[str, str], bytes]]] = {
    "binary": to_http,
    "structured": lambda envelope: to_http(envelope, structured=True),
    "push": lambda envelope: ({"Content-Type": "application/json"}, _push_body(envelope, structured=False)),
    "push of structured": lambda envelope: ({}, _push_body(envelope, structured=True)),
    "eventarc": _eventarc,
    "capital headers": lambda envelope: (
        {name.title(): value for name, value in to_http(envelope)[0].items()},
        envelope.data,
    ),
}


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("batch", [BATCH, IMPRESSIONS], ids=["stream", "impressions"])
def test_open_envelope_after_any_transport_returns_batch(transport: str, batch: StreamBatch | ImpressionBatch) -> None:
    """Binary, structured or pushed by Pub/Sub: envelope and batch equal those that were sent."""
    envelope = encode_batch(batch)
    received = from_http(*TRANSPORTS[transport](envelope))
    assert (received.id, received.type, received.source) == (envelope.id, envelope.type, envelope.source)
    assert received.time == envelope.time
    assert open_envelope(received) == batch


def test_from_http_structured_event_with_json_data_is_accepted() -> None:
    """Senders may put the data into ``data`` instead of ``data_base64``."""
    envelope = encode_batch(BATCH)
    document = {
        "specversion": "1.0",
        "id": envelope.id,
        "type": envelope.type,
        "source": envelope.source,
        "time": "2026-02-14T00:09:20.426Z",
        "data": json.loads(envelope.data),
    }
    received = from_http({"content-type": "application/cloudevents+json"}, json.dumps(document).encode())
    assert open_envelope(received) == BATCH
    assert received.time == datetime(2026, 2, 14, 0, 9, 20, 426000, UTC)


def test_encode_batch_id_and_source_identify_records() -> None:
    """The id has topic, partition and offsets; the source has the topic id."""
    envelope = encode_batch(BATCH)
    assert envelope.id == "movielog1/1/7-9"
    assert envelope.source == "/kafka/topics/AaIJLc23drG8947-mfdxpw"


@given(st.binary())
def test_open_envelope_returns_the_bytes_of_kafka(value: bytes) -> None:
    """UTF-8 or not, the bytes are unchanged."""
    batch = StreamBatch("t", "s", 0, (make_record(0, 0, value),))
    opened = open_envelope(from_http(*to_http(encode_batch(batch))))
    assert isinstance(opened, StreamBatch)
    assert opened.records[0].raw == value


def test_make_record_without_value_has_empty_text() -> None:
    """A tombstone is not an event, but keeps its offset."""
    assert make_record(3, 0, None).text == ""


NO_DATA = b'{"message":{"messageId":"1"},"subscription":"s"}'
FOREIGN = b'{"message":{"data":"eA==","attributes":{"color":"red"},"messageId":"1"},"subscription":"s"}'


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({}, b""),
        ({}, b"\xff"),
        ({}, b"[]"),
        ({}, b"[" * 100_000),
        ({}, NO_DATA),
        ({}, FOREIGN),
        ({}, b'{"message":{"data":"\xc3\xa4"},"subscription":"s"}'),
        ({"ce-specversion": "1.0"}, b"{}"),
        ({"ce-specversion": "7"}, b"{}"),
        ({"ce-specversion": "1.0", "ce-id": "1", "ce-type": "t", "ce-source": "s", "ce-time": "noon"}, b"{}"),
        (
            {
                "ce-specversion": "1.0",
                "ce-id": "1",
                "ce-type": "t",
                "ce-source": "s",
                "ce-time": "2026-02-14",
            },
            b"",
        ),
        ({"content-type": "application/cloudevents+json"}, b"{"),
        ({"content-type": "application/cloudevents+json"}, b"\xff"),
        ({"content-type": "application/cloudevents+json"}, b'{"specversion":"1.0","id":1}'),
    ],
)
def test_from_http_invalid_request_raises_with_body(headers: dict[str, str], body: bytes) -> None:
    """The receiver can store what it could not read."""
    with pytest.raises(InvalidBatch) as caught:
        from_http(headers, body)
    assert caught.value.body == body


@given(st.binary())
@pytest.mark.parametrize("kind", ["", "application/json", "application/cloudevents+json"])
def test_from_http_any_body_raises_only_invalid_batch(kind: str, body: bytes) -> None:
    """Any body is an envelope or an InvalidBatch."""
    with suppress(InvalidBatch):
        from_http({"content-type": kind}, body)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"{}",
        b"[" * 100_000,
        b'{"topic":"t","topic_id":"s","partition":0,"records":[]}',
        b'{"topic":"t","topic_id":"s","partition":0,"records":[{"offset":1,"timestamp_ms":0}]}',
        b'{"topic":"t","topic_id":"s","partition":0,"records":[{"offset":1,"timestamp_ms":0,"text":"","base64":""}]}',
        b'{"topic":"t","topic_id":"s","partition":0,"records":[{"offset":1,"timestamp_ms":0,"base64":"*"}]}',
        b'{"topic":"t","topic_id":"s","partition":0,"records":[{"offset":-1,"timestamp_ms":0,"text":""}]}',
        b'{"topic":"t","topic_id":"s","partition":0,"records":'
        b'[{"offset":2,"timestamp_ms":0,"text":""},{"offset":2,"timestamp_ms":0,"text":""}]}',
        b'{"topic":"t","topic_id":"s","partition":0,"since":3,"records":[{"offset":2,"timestamp_ms":0,"text":""}]}',
    ],
)
def test_open_envelope_invalid_data_raises_with_body(data: bytes) -> None:
    """No records, offsets that do not increase, neither text nor base64: all are detected."""
    envelope = Envelope("1", "marquee.stream-batch.v1", "s", datetime.now(UTC), data)
    with pytest.raises(InvalidBatch) as caught:
        open_envelope(envelope)
    assert caught.value.body == data


def test_open_envelope_unknown_type_names_valid_types() -> None:
    """The message lists the valid types."""
    with pytest.raises(InvalidBatch, match=r"other\.v1.*marquee\.stream-batch\.v1"):
        open_envelope(Envelope("1", "other.v1", "s", datetime.now(UTC), b"{}"))


def test_open_envelope_impression_time_without_zone_raises() -> None:
    """A time without a zone is ambiguous, so it is not stored."""
    data = encode_batch(IMPRESSIONS).data.replace(b"20.426000Z", b"20.426000").replace(b"20.426Z", b"20.426")
    with pytest.raises(InvalidBatch, match="zone"):
        open_envelope(Envelope("1", "marquee.impressions.v1", "s", datetime.now(UTC), data))


def test_from_http_gzip_and_byte_order_mark_are_decoded() -> None:
    """A body that is compressed or begins with a byte order mark is the same event."""
    headers, body = to_http(encode_batch(IMPRESSIONS))
    for changed, data in (
        ({"content-encoding": "gzip"}, gzip.compress(body)),
        ({}, b"\xef\xbb\xbf" + body),
        ({"ce-time": "2026-11-30T01%3A00%3A00Z"}, body),
    ):
        assert open_envelope(from_http(headers | changed, data)) == IMPRESSIONS


INVALID_GZIP = {
    "no gzip": b"x",
    "cut off": gzip.compress(b"x" * 100)[:-9],
    "too large": gzip.compress(bytes(17 * 2**20)),
}


@pytest.mark.parametrize("data", INVALID_GZIP.values(), ids=INVALID_GZIP)
def test_from_http_invalid_gzip_raises_with_body(data: bytes) -> None:
    """Not gzip, cut, or a body that decompresses to more than the limit."""
    headers, _ = to_http(encode_batch(IMPRESSIONS))
    with pytest.raises(InvalidBatch, match="gzip") as caught:
        from_http(headers | {"content-encoding": "gzip"}, data)
    assert caught.value.body == data


def test_from_http_subscription_name_cannot_forge_a_log_line() -> None:
    """Control characters of a sender's names are escaped in messages."""
    body = b'{"message": {"data": ""}, "subscription": "s\\r\\n2026-11-30 ERROR forged"}'
    with pytest.raises(InvalidBatch) as caught:
        from_http({"content-type": "application/json"}, body)
    assert "\n" not in str(caught.value)
    assert "\r" not in str(caught.value)
