"""Lines and envelopes with something wrong in them, drawn from a seed."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Callable, Mapping

from tests.chaos.lines import line

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


def mutated(raw: bytes, chance: random.Random) -> bytes:
    """``raw`` with one to three things done to it."""
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        at = chance.randrange(len(raw) + 1)
        end = min(len(raw), at + chance.randint(1, 8))
        how = chance.randrange(7)
        if how == 0:
            raw = raw[:at] + chance.choice(_ODD) + raw[at:]
        elif how == 1:
            raw = raw[:at] + raw[end:]
        elif how == 2:
            raw = raw[:at] + bytes([chance.randrange(256)]) + raw[at + 1 :]
        elif how == 3:
            raw = raw[:at]
        elif how == 4:
            raw = raw[:at] + raw[at:end] * chance.randint(2, 4) + raw[end:]
        elif how == 5:
            other = chance.randrange(len(raw) + 1)
            raw = raw[:at] + raw[other:]
        else:
            raw = raw[:at] + raw[at:end].swapcase() + raw[end:]
    return raw


def lines(count: int, seed: int) -> list[bytes]:
    """Mutated lines of all kinds; about one in seven is as it was."""
    chance = random.Random(f"lines {seed}")
    known = [line(number, seed).raw for number in range(200)]
    return [
        mutated(chance.choice(known), chance) if chance.random() < 0.86 else chance.choice(known)
        for _ in range(count)
    ]


def request(number: int, chance: random.Random) -> Request:
    """A delivery that is somehow wrong: in its bytes, its fields, its headers, or its wrapping."""
    records = tuple(make_record(number * 10 + n, 1_790_000_000_000, line(n, number).raw) for n in range(3))
    headers, body = to_http(encode_batch(StreamBatch("movielog", "fuzz", 0, records)))
    how: Callable[[dict[str, str], bytes, random.Random], Request] = chance.choice(_WAYS)
    return how(headers, body, chance)


def _bytes(headers: dict[str, str], body: bytes, chance: random.Random) -> Request:
    return headers, mutated(body, chance)


def _fields(headers: dict[str, str], body: bytes, chance: random.Random) -> Request:
    document = json.loads(body)
    owner = document if chance.random() < 0.5 else chance.choice(document["records"])
    name = chance.choice([*owner, "base64", "text", "since", "extra"])
    if chance.random() < 0.3:
        owner.pop(name, None)
    else:
        owner[name] = chance.choice(_VALUES)
    return headers, json.dumps(document).encode()


def _headers(headers: dict[str, str], body: bytes, chance: random.Random) -> Request:
    name = chance.choice(list(headers))
    value = mutated(headers[name].encode(), chance).decode("latin-1")
    value = "".join(letter for letter in value if letter.isprintable())
    changed = headers | {name: value}
    if chance.random() < 0.3:
        del changed[name]
    return changed, body


def _structured(headers: dict[str, str], body: bytes, chance: random.Random) -> Request:
    event = {name.removeprefix("ce-"): value for name, value in headers.items() if name.startswith("ce-")}
    document: dict[str, object] = {**event, "data": json.loads(body)}
    document[chance.choice([*document, "data_base64"])] = chance.choice(_VALUES)
    return {"content-type": "application/cloudevents+json"}, json.dumps(document).encode()


def _push(headers: dict[str, str], body: bytes, chance: random.Random) -> Request:
    attributes: Mapping[str, object] = {
        name: value for name, value in headers.items() if name.startswith("ce-")
    }
    message: dict[str, object] = {"data": base64.b64encode(body).decode(), "attributes": attributes}
    document: dict[str, object] = {"message": message, "subscription": "projects/p/subscriptions/s"}
    owner = chance.choice([document, message, dict(attributes)])
    owner[chance.choice([*owner, "data"])] = chance.choice(_VALUES)
    if "ce-id" in owner:
        message["attributes"] = owner
    raw = json.dumps(document).encode()
    return {"content-type": "application/json"}, mutated(raw, chance) if chance.random() < 0.3 else raw


def _nothing_of_ours(headers: dict[str, str], body: bytes, chance: random.Random) -> Request:
    wild = chance.choice([b"", chance.randbytes(50), b"[" * 5_000, b'{"a":' * 3_000, b"null", b"\xff\xfe{}"])
    return {
        "content-type": chance.choice(["application/json", "text/plain", "", "application/cloudevents+json"])
    }, wild


_WAYS = (_bytes, _fields, _headers, _structured, _push, _nothing_of_ours)
