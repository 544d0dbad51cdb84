"""Writing what arrived: one batch is one transaction, and writing it twice changes nothing.

Every writer takes the tables in the same order and the rows of each in the order of their keys, so that
two of them with overlapping batches wait for each other, and never in a circle.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Any

import msgspec
from msgspec.structs import replace

from marquee.errors import DataRefused
from marquee.stream.batch import ImpressionBatch, StreamBatch
from marquee.stream.lines import LineParser
from marquee.telemetry import columns
from marquee.telemetry.database import Database
from marquee.telemetry.sorting import Columns, SortedLines, sort, storable

UNSTORABLE = "unstorable"
"""The category of a line that was read, and that the database refused."""

_WATCHES = """
INSERT INTO watches (time, stream, partition, "offset", user_id, movie_id, minute)
SELECT time, %s, %s, "offset", user_id, movie_id, minute
FROM unnest(%s::timestamptz[], %s::bigint[], %s::text[], %s::text[], %s::integer[])
     AS line (time, "offset", user_id, movie_id, minute)
ON CONFLICT DO NOTHING"""

_RATINGS = """
INSERT INTO ratings (time, stream, partition, "offset", user_id, movie_id, rating)
SELECT time, %s, %s, "offset", user_id, movie_id, rating
FROM unnest(%s::timestamptz[], %s::bigint[], %s::text[], %s::text[], %s::smallint[])
     AS line (time, "offset", user_id, movie_id, rating)
ON CONFLICT DO NOTHING"""

# An array of arrays would have to be rectangular, so the films of an answer travel joined.
_REQUESTS = """
INSERT INTO recommendation_requests
       (time, stream, partition, "offset", user_id, server, status, movie_ids, result, response_ms)
SELECT time, %s, %s, "offset", user_id, server, status, string_to_array(movie_ids, ','), result, response_ms
FROM unnest(%s::timestamptz[], %s::bigint[], %s::text[], %s::text[], %s::integer[], %s::text[], %s::text[],
            %s::integer[]) AS line (time, "offset", user_id, server, status, movie_ids, result, response_ms)
ON CONFLICT DO NOTHING"""

_ACCOUNTS = """
INSERT INTO accounts (time, stream, partition, "offset", user_id)
SELECT time, %s, %s, "offset", user_id
FROM unnest(%s::timestamptz[], %s::bigint[], %s::text[]) AS line (time, "offset", user_id)
ON CONFLICT DO NOTHING"""

_QUARANTINE = """
INSERT INTO quarantine (time, stream, partition, "offset", category, detail, raw)
SELECT to_timestamp(time_ms / 1000.0), %s, %s, "offset", category, detail, raw
FROM unnest(%s::bigint[], %s::bigint[], %s::text[], %s::text[], %s::bytea[])
     AS line (time_ms, "offset", category, detail, raw)
ON CONFLICT DO NOTHING"""

_VIEWINGS = """
INSERT INTO viewings AS old (user_id, movie_id, started, ended, first_minute, last_minute)
SELECT * FROM unnest(%s::text[], %s::text[], %s::timestamptz[], %s::timestamptz[], %s::integer[],
                     %s::integer[])
ON CONFLICT (user_id, movie_id) DO UPDATE SET
    started = least(old.started, excluded.started),
    ended = greatest(old.ended, excluded.ended),
    first_minute = least(old.first_minute, excluded.first_minute),
    last_minute = greatest(old.last_minute, excluded.last_minute)
WHERE excluded.started < old.started OR excluded.ended > old.ended
   OR excluded.first_minute < old.first_minute OR excluded.last_minute > old.last_minute"""

_PROGRESS = """
INSERT INTO progress AS old
       (stream, partition, next_offset,
        watches, ratings, recommendation_requests, accounts, quarantine, updated)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, clock_timestamp())
ON CONFLICT (stream, partition) DO UPDATE SET
    next_offset = greatest(old.next_offset, excluded.next_offset),
    watches = old.watches + excluded.watches,
    ratings = old.ratings + excluded.ratings,
    recommendation_requests = old.recommendation_requests + excluded.recommendation_requests,
    accounts = old.accounts + excluded.accounts,
    quarantine = old.quarantine + excluded.quarantine,
    updated = excluded.updated"""

_IMPRESSIONS = """
INSERT INTO impressions (time, id, user_id, arm, model_version, release, tier, films)
SELECT * FROM unnest(%s::timestamptz[], %s::text[], %s::text[], %s::text[], %s::text[], %s::integer[],
                     %s::text[], %s::jsonb[])
ON CONFLICT DO NOTHING"""

# The update changes nothing: it is there so that the row is returned, whoever made it.
_STREAM = """
INSERT INTO streams (topic, topic_id) VALUES (%s, %s)
ON CONFLICT (topic_id) DO UPDATE SET topic = excluded.topic RETURNING stream"""

_REJECTED = """
INSERT INTO rejected_events (reason, headers, body, digest) VALUES (%s, %s, %s, %s)
ON CONFLICT (digest) DO NOTHING"""


@dataclass(frozen=True, slots=True)
class Written:
    """Rows that were new, by table; those that were there already count nowhere."""

    watches: int = 0
    ratings: int = 0
    recommendation_requests: int = 0
    accounts: int = 0
    quarantine: int = 0
    impressions: int = 0

    def __add__(self, other: Written) -> Written:
        return Written(*(mine + theirs for mine, theirs in zip(astuple(self), astuple(other), strict=True)))

    @property
    def lines(self) -> int:
        """Lines of the stream that were new."""
        return self.watches + self.ratings + self.recommendation_requests + self.accounts + self.quarantine


def write_batch(database: Database, batch: StreamBatch, parser: LineParser) -> Written:
    """Write every line of ``batch`` that is not there yet, as its event or into quarantine.

    Raises DatabaseUnavailable, or DatabaseRefused where the tables are missing, and then has written
    nothing or whole parts of the batch.
    """
    return _write(database, batch, sort(batch.records, parser), parser)


def _write(database: Database, batch: StreamBatch, lines: SortedLines, parser: LineParser) -> Written:
    try:
        with database.transaction() as cursor:
            return _write_lines(cursor, batch, lines)
    except DataRefused as error:
        # No line that was read should come to this. If one does, it must not hold up the others for ever.
        if len(batch.records) == 1:
            refused = SortedLines(malformed=[(batch.records[0], UNSTORABLE, str(error))])
            with database.transaction() as cursor:
                return _write_lines(cursor, batch, refused)
        middle = len(batch.records) // 2
        halves = (batch.records[:middle], batch.records[middle:])
        first, second = (write_batch(database, replace(batch, records=half), parser) for half in halves)
        return first + second


def _write_lines(cursor: Any, batch: StreamBatch, lines: SortedLines) -> Written:
    place = (_stream(cursor, batch), batch.partition)
    written = Written(
        watches=_insert(cursor, _WATCHES, place, lines.watches, lines.watch_columns),
        ratings=_insert(cursor, _RATINGS, place, lines.ratings, lines.rating_columns),
        recommendation_requests=_insert(cursor, _REQUESTS, place, lines.requests, lines.request_columns),
        accounts=_insert(cursor, _ACCOUNTS, place, lines.accounts, lines.account_columns),
        quarantine=_insert(cursor, _QUARANTINE, place, lines.malformed, lines.quarantine_columns),
    )
    _insert(cursor, _VIEWINGS, (), lines.watches, lines.viewing_columns)
    if written.lines:
        _note_progress(cursor, place, batch.records[-1].offset + 1, written)
    return written


def write_impressions(database: Database, batch: ImpressionBatch) -> Written:
    """Write the impressions of ``batch`` that are not there yet."""
    rows = sorted(batch.impressions, key=lambda impression: impression.id)
    literals = (
        columns.times([row.time for row in rows]),
        columns.texts([row.id for row in rows]),
        columns.texts([row.user_id for row in rows]),
        columns.texts([row.arm for row in rows]),
        columns.texts([row.model_version for row in rows]),
        columns.numbers([row.release for row in rows]),
        columns.texts([row.tier for row in rows]),
        columns.texts([msgspec.json.encode(row.films).decode() for row in rows]),
    )
    with database.transaction() as cursor:
        return Written(impressions=_execute(cursor, _IMPRESSIONS, literals))


def keep_rejected(database: Database, reason: str, headers: Mapping[str, str], body: bytes) -> None:
    """Keep an event that is none of ours, once however often it comes."""
    kept = storable(msgspec.json.encode({name: storable(value) for name, value in headers.items()}).decode())
    digest = hashlib.sha256(body).digest()
    with database.transaction() as cursor:
        _execute(cursor, _REJECTED, (storable(reason), kept, body, digest))


def _insert(
    cursor: Any,
    statement: str,
    place: tuple[int, ...],
    rows: Sequence[object],
    to_columns: Callable[[], Columns],
) -> int:
    return _execute(cursor, statement, (*place, *to_columns())) if rows else 0


def _execute(cursor: Any, statement: str, parameters: tuple[object, ...]) -> int:
    try:
        cursor.execute(statement, parameters)
    except ValueError as error:  # psycopg2 itself refuses NUL and lone surrogates.
        raise DataRefused(f"A value cannot be stored: {error}") from error
    return int(cursor.rowcount)


def _stream(cursor: Any, batch: StreamBatch) -> int:
    """The number of the topic's incarnation; not remembered, since a restored database may number anew."""
    cursor.execute("SELECT stream FROM streams WHERE topic_id = %s", (batch.stream,))
    row = cursor.fetchone()
    if row is None:
        _execute(cursor, _STREAM, (batch.topic, batch.stream))
        row = cursor.fetchone()
    return int(row[0])


def _note_progress(cursor: Any, place: tuple[int, int], next_offset: int, written: Written) -> None:
    new = (
        written.watches,
        written.ratings,
        written.recommendation_requests,
        written.accounts,
        written.quarantine,
    )
    _execute(cursor, _PROGRESS, (*place, next_offset, *new))
