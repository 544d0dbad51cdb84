"""Decoding of JSON documents from an object store, whose bytes may be anything."""

from __future__ import annotations

from typing import TypeVar

import msgspec

T = TypeVar("T")


class MalformedDocument(ValueError):
    """The bytes are not JSON, or not of the type."""


def decode_json(data: bytes | memoryview, kind: type[T]) -> T:
    """Return the document as ``kind``. Raises :class:`MalformedDocument` if it is not one."""
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedDocument(str(error)) from error
