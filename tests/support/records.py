"""Batches for the tests, made of lines in the protocol's format."""

from __future__ import annotations

from collections.abc import Sequence

from marquee.db.pool import Database
from marquee.events.batches import StreamBatch, make_record

MOVIE = "fight+club+1999"
STREAM = "AAAAAAAAQQ2hzSyMdQ0xkw"


def batch(
    values: Sequence[str | bytes], first: int = 0, *, partition: int = 0, topic_key: str = STREAM
) -> StreamBatch:
    """The lines as consecutive records from offset ``first`` on."""
    raw = [value.encode() if isinstance(value, str) else value for value in values]
    records = [
        make_record(first + place, 1_790_000_000_000 + first + place, value)
        for place, value in enumerate(raw)
    ]
    return StreamBatch("movielog", topic_key, partition, tuple(records))


def watch(user_id: int, minute: int, movie_id: str = MOVIE, time: str = "2026-02-14T00:09:20.426") -> str:
    return f"{time},{user_id},GET /data/m/{movie_id}/{minute}.mpg"


def rate(user_id: int, rating: int, movie_id: str = MOVIE, time: str = "2026-02-14T00:09:21") -> str:
    return f"{time},{user_id},GET /rate/{movie_id}={rating}"


def ask(user_id: int, status: int, result: str, response_ms: int = 31) -> str:
    request = f"recommendation request 127.0.0.1:8082, status {status}, result: {result}, {response_ms} ms"
    return f"2026-02-14T00:09:22,{user_id},{request}"


def account(user_id: int) -> str:
    return f"2026-02-14T00:09:23,{user_id},GET /create_account"


def rows(database: Database, query: str, *parameters: object) -> list[tuple[object, ...]]:
    """The rows of a query."""
    with database.transaction() as cursor:
        cursor.execute(query, parameters)
        return list(cursor.fetchall())
