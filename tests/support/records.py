"""Batches for the tests, made of records in the protocol's format."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from marquee.db.pool import Database
from marquee.events.batches import StreamBatch, make_record

MOVIE = "fight+club+1999"
TOPIC_ID = "AAAAAAAAQQ2hzSyMdQ0xkw"


def batch(
    values: Sequence[str | bytes], first: int = 0, *, partition: int = 0, topic_id: str = TOPIC_ID
) -> StreamBatch:
    """Return a batch of the values, at consecutive offsets from ``first`` on."""
    raw = [value.encode() if isinstance(value, str) else value for value in values]
    records = [make_record(offset, 1_790_000_000_000 + offset, value) for offset, value in enumerate(raw, first)]
    return StreamBatch("movielog", topic_id, partition, tuple(records))


def watch(user_id: int, minute: int, movie_id: str = MOVIE, time: str = "2026-02-14T00:09:20.426") -> str:
    """Return a watch record."""
    return f"{time},{user_id},GET /data/m/{movie_id}/{minute}.mpg"


def rate(user_id: int, rating: float, movie_id: str = MOVIE, time: str = "2026-02-14T00:09:21") -> str:
    """Return a rating record."""
    return f"{time},{user_id},GET /rate/{movie_id}={rating:g}"


def ask(user_id: int, status: int, result: str, response_ms: int = 31) -> str:
    """Return the record of a recommendation request."""
    request = f"recommendation request 127.0.0.1:8082, status {status}, result: {result}, {response_ms} ms"
    return f"2026-02-14T00:09:22,{user_id},{request}"


def account(user_id: int) -> str:
    """Return the record of a new account."""
    return f"2026-02-14T00:09:23,{user_id},GET /create_account"


def rows(database: Database, query: str, *parameters: object) -> list[tuple[Any, ...]]:
    """Return the rows of a query."""
    with database.transaction() as cursor:
        cursor.execute(query, parameters)
        return list(cursor.fetchall())
