"""Contents of ``releases/current.json`` that no publisher writes."""

from __future__ import annotations

import json

from marquee.registry.object_store.object_store import ObjectStore
from marquee.registry.release import CURRENT

DAMAGES = (
    "empty",
    "truncated",
    "comma appended",
    "null",
    "deeply nested",
    "Latin-1 byte",
    "UTF-16",
    "version outside of models/",
    "version with a blank",
    "number 99",
    "number -5",
    "number 0",
    "number 2^70",
    "number above the database's integers",
    "number as text",
    "previous -1",
    "format 0",
    "time without a zone",
    "weights of 0.9",
)


def damage(document: bytes, kind: str) -> bytes:
    """Return ``document`` with one of :data:`DAMAGES`."""
    fields = json.loads(document)
    arm = fields["arms"][0]
    changes = {
        "version outside of models/": {"arms": [arm | {"version": "../../etc"}]},
        "version with a blank": {"arms": [arm | {"version": arm["version"] + " "}]},
        "number 99": {"number": 99},
        "number -5": {"number": -5},
        "number 0": {"number": 0},
        "number 2^70": {"number": 2**70},
        "number above the database's integers": {"number": 2**31},
        "number as text": {"number": "2"},
        "previous -1": {"previous": -1},
        "format 0": {"format": 0},
        "time without a zone": {"created": "2026-11-30T01:00:00"},
        "weights of 0.9": {"arms": [arm | {"weight": 0.9}]},
    }
    if kind in changes:
        return json.dumps(fields | changes[kind]).encode()
    return {
        "empty": b"",
        "truncated": document[:100],
        "comma appended": document.rstrip()[:-1] + b",}",
        "null": b"null",
        "deeply nested": b"[" * 100_000,
        "Latin-1 byte": json.dumps(fields | {"reason": "XX"}).encode().replace(b"XX", b"zur\xfcck"),
        "UTF-16": document.decode().encode("utf-16"),
    }[kind]


def damage_current(store: ObjectStore, kind: str) -> bytes:
    """Damage the current release's document and return its new content."""
    current = store.get(CURRENT)
    damaged = damage(current.data, kind)
    store.replace(CURRENT, damaged, current.version)
    return damaged
