"""PostgreSQL array literals, which pass many rows as one parameter per column.

``INSERT ... SELECT FROM unnest(...)`` of such columns is half as fast as COPY. Unlike COPY, it can ignore
rows that exist already.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime


def number_array(values: Iterable[int | float | str]) -> str:
    """Return the literal of an array of numbers."""
    return "{" + ",".join(map(str, values)) + "}"


def time_array(values: Iterable[datetime]) -> str:
    """Return the literal of a timestamptz array; the times are aware."""
    return "{" + ",".join([value.isoformat() for value in values]) + "}"


def text_array(values: Sequence[str]) -> str:
    """Return the literal of a text array; it must not contain NUL, which PostgreSQL cannot store."""
    if not values:
        return "{}"
    joined = '","'.join(values)
    # Ids contain neither quotes nor backslashes, so only free text is escaped.
    if "\\" in joined or joined.count('"') != 2 * (len(values) - 1):
        joined = '","'.join([value.replace("\\", "\\\\").replace('"', '\\"') for value in values])
    return '{"' + joined + '"}'


def binary_array(values: Sequence[bytes]) -> str:
    """Return the literal of a bytea array."""
    return "{" + ",".join(['"\\\\x' + value.hex() + '"' for value in values]) + "}"
