"""Mutated records and envelopes, drawn from a seed."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Callable, Mapping

from tests.chaos.known_records import known_record

from marquee.events.batches import StreamBatch, make_record
from marquee.events.envelopes import encode_batch, to_http

Request = tuple[dict[str, str], bytes]

_ODD = [b"\0", b"\n", b"\r", b"\t", b"\\", b'"', b"'", b",", b"/", b"=", b"\xff", b"\xc3", b"\xed\xa0\x80"]
_ODD += [
    "é".encode(),
    "٣".encode(),
    "\u2028".encode(),
    b"9" * 30,
    b"GET /data/m/",
    b"GET /rate/",
    b".mpg",
    b"{",
    b"}",
]
_NUMBERS = [-1, 0, 2**31, 2**63, 2**64, 10**400, 1.5, 1e308]
_VALUES = [
    *_NUMBERS,
    None,
    True,
    "",
    "\0",
    "x" * 300,
    [],
    {},
    [None],
    {"a": 1},
    "\ud800".encode("utf-8", "replace").decode(),
]


def mutate(raw: bytes, rng: random.Random) -> bytes:
    """Return ``raw`` after one to three mutations."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        at = rng.randrange(len(raw) + 1)
        end = min(len(raw), at + rng.randint(1, 8))
        how = rng.randrange(7)
        if how == 0:
            raw = raw[:at] + rng.choice(_ODD) + raw[at:]
        elif how == 1:
            raw = raw[:at] + raw[end:]
        elif how == 2:
            raw = raw[:at] + bytes([rng.randrange(256)]) + raw[at + 1 :]
        elif how == 3:
            raw = raw[:at]
        elif how == 4:
            raw = raw[:at] + raw[at:end] * rng.randint(2, 4) + raw[end:]
        elif how == 5:
            other = rng.randrange(len(raw) + 1)
            raw = raw[:at] + raw[other:]
        else:
            raw = raw[:at] + raw[at:end].swapcase() + raw[end:]
    return raw


def mutated_records(count: int, seed: int) -> list[bytes]:
    """Return mutated records of all kinds; about one in seven is unchanged."""
    rng = random.Random(f"lines {seed}")
    known = [known_record(number, seed).raw for number in range(200)]
    return [mutate(rng.choice(known), rng) if rng.random() < 0.86 else rng.choice(known) for _ in range(count)]


def malformed_request(number: int, rng: random.Random) -> Request:
    """Return a delivery with a fault in its bytes, fields, headers or wrapping."""
    records = tuple(make_record(number * 10 + n, 1_790_000_000_000, known_record(n, number).raw) for n in range(3))
    headers, body = to_http(encode_batch(StreamBatch("movielog", "fuzz", 0, records)))
    mutation: Callable[[dict[str, str], bytes, random.Random], Request] = rng.choice(_MUTATIONS)
    return mutation(headers, body, rng)


def _mutate_bytes(headers: dict[str, str], body: bytes, rng: random.Random) -> Request:
    return headers, mutate(body, rng)


def _mutate_fields(headers: dict[str, str], body: bytes, rng: random.Random) -> Request:
    document = json.loads(body)
    owner = document if rng.random() < 0.5 else rng.choice(document["records"])
    name = rng.choice([*owner, "base64", "text", "since", "extra"])
    if rng.random() < 0.3:
        owner.pop(name, None)
    else:
        owner[name] = rng.choice(_VALUES)
    return headers, json.dumps(document).encode()


def _mutate_headers(headers: dict[str, str], body: bytes, rng: random.Random) -> Request:
    name = rng.choice(list(headers))
    value = mutate(headers[name].encode(), rng).decode("latin-1")
    value = "".join(letter for letter in value if letter.isprintable())
    changed = headers | {name: value}
    if rng.random() < 0.3:
        del changed[name]
    return changed, body


def _mutate_structured(headers: dict[str, str], body: bytes, rng: random.Random) -> Request:
    event = {name.removeprefix("ce-"): value for name, value in headers.items() if name.startswith("ce-")}
    document: dict[str, object] = {**event, "data": json.loads(body)}
    document[rng.choice([*document, "data_base64"])] = rng.choice(_VALUES)
    return {"content-type": "application/cloudevents+json"}, json.dumps(document).encode()


def _mutate_push(headers: dict[str, str], body: bytes, rng: random.Random) -> Request:
    attributes: Mapping[str, object] = {name: value for name, value in headers.items() if name.startswith("ce-")}
    message: dict[str, object] = {"data": base64.b64encode(body).decode(), "attributes": attributes}
    document: dict[str, object] = {"message": message, "subscription": "projects/p/subscriptions/s"}
    owner = rng.choice([document, message, dict(attributes)])
    owner[rng.choice([*owner, "data"])] = rng.choice(_VALUES)
    if "ce-id" in owner:
        message["attributes"] = owner
    raw = json.dumps(document).encode()
    return {"content-type": "application/json"}, mutate(raw, rng) if rng.random() < 0.3 else raw


def _foreign_request(_headers: dict[str, str], _body: bytes, rng: random.Random) -> Request:
    body = rng.choice([b"", rng.randbytes(50), b"[" * 5_000, b'{"a":' * 3_000, b"null", b"\xff\xfe{}"])
    return {"content-type": rng.choice(["application/json", "text/plain", "", "application/cloudevents+json"])}, body


_MUTATIONS = (
    _mutate_bytes,
    _mutate_fields,
    _mutate_headers,
    _mutate_structured,
    _mutate_push,
    _foreign_request,
)
