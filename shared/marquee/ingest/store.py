"""Writing what arrived: one batch is one transaction, and writing it twice changes nothing.

A writer first takes its partition's entry of the ledger, so that overlapping batches wait for each other. All
take the tables in the same order and the watch_sessions, which partitions share, in the order of their keys: nobody
waits in a circle. Almost every line is a watch; those go in by COPY.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass
from io import BytesIO
from typing import Any

import msgspec

from marquee.db import pg_arrays, written_offsets
from marquee.db.pool import Database
from marquee.db.written_offsets import WrittenOffsets
from marquee.errors import DataRefused
from marquee.events.batches import ImpressionBatch, StreamBatch
from marquee.events.parser import EventParser
from marquee.ingest import watch_sessions
from marquee.ingest.row_encoding import Columns, ParsedBatch, parse_records, storable

UNSTORABLE = "unstorable"
"""The category of a line that was read, and that the database refused."""

_WATCHES = """
INSERT INTO watches (time, topic_key, partition, "offset", user_id, movie_id, minute)
SELECT time, %s, %s, "offset", user_id, movie_id, minute
FROM unnest(%s::bigint[], %s::timestamptz[], %s::text[], %s::text[], %s::integer[])
     AS line ("offset", time, user_id, movie_id, minute)
ON CONFLICT DO NOTHING"""

_COPY_WATCHES = 'COPY watches ("offset", time, user_id, movie_id, minute, topic_key, partition) FROM STDIN'
# As much is handed to libpq at a time.
_COPY_BYTES = 1 << 20

_RATINGS = """
INSERT INTO ratings (time, topic_key, partition, "offset", user_id, movie_id, rating)
SELECT time, %s, %s, "offset", user_id, movie_id, rating
FROM unnest(%s::timestamptz[], %s::bigint[], %s::text[], %s::text[], %s::smallint[])
     AS line (time, "offset", user_id, movie_id, rating)
ON CONFLICT DO NOTHING"""

# An array of arrays would have to be rectangular, so the movies of an answer travel joined.
_REQUESTS = """
INSERT INTO recommendation_requests
       (time, topic_key, partition, "offset", user_id, server, status, movie_ids, result, response_ms)
SELECT time, %s, %s, "offset", user_id, server, status, string_to_array(movie_ids, ','), result, response_ms
FROM unnest(%s::timestamptz[], %s::bigint[], %s::text[], %s::text[], %s::integer[], %s::text[], %s::text[],
            %s::integer[]) AS line (time, "offset", user_id, server, status, movie_ids, result, response_ms)
ON CONFLICT DO NOTHING"""

_ACCOUNTS = """
INSERT INTO accounts (time, topic_key, partition, "offset", user_id)
SELECT time, %s, %s, "offset", user_id
FROM unnest(%s::timestamptz[], %s::bigint[], %s::text[]) AS line (time, "offset", user_id)
ON CONFLICT DO NOTHING"""

_QUARANTINE = """
INSERT INTO quarantine (time, topic_key, partition, "offset", category, detail, raw)
SELECT to_timestamp(time_ms / 1000.0), %s, %s, "offset", category, detail, raw
FROM unnest(%s::bigint[], %s::bigint[], %s::text[], %s::text[], %s::bytea[])
     AS line (time_ms, "offset", category, detail, raw)
ON CONFLICT DO NOTHING"""

_IMPRESSIONS = """
INSERT INTO impressions (time, id, user_id, arm, model_version, release, tier, movies)
SELECT * FROM unnest(%s::timestamptz[], %s::text[], %s::text[], %s::text[], %s::text[], %s::integer[],
                     %s::text[], %s::jsonb[])
ON CONFLICT DO NOTHING"""

_REJECTED = """
INSERT INTO rejected_events (reason, headers, body, digest) VALUES (%s, %s, %s, %s)
ON CONFLICT (digest) DO NOTHING"""


EVENT_TABLES = ("watches", "ratings", "recommendation_requests", "accounts", "quarantine")
"""Every line of the stream is a row of one of these."""


@dataclass(frozen=True, slots=True)
class WriteCounts:
    """Rows that were new, by table; those that were there already count nowhere."""

    watches: int = 0
    ratings: int = 0
    recommendation_requests: int = 0
    accounts: int = 0
    quarantine: int = 0
    impressions: int = 0

    def __add__(self, other: WriteCounts) -> WriteCounts:
        return WriteCounts(
            *(mine + theirs for mine, theirs in zip(astuple(self), astuple(other), strict=True))
        )

    @property
    def counts(self) -> dict[str, int]:
        """Those of the stream's tables, by the table's name."""
        return {name: getattr(self, name) for name in EVENT_TABLES}

    @property
    def lines(self) -> int:
        """Lines of the stream that were new."""
        return sum(self.counts.values())


def write_batch(database: Database, batch: StreamBatch, parser: EventParser) -> WriteCounts:
    """Write every line of ``batch`` that is not there yet, as its event or into quarantine.

    Raises DatabaseUnavailable, or DatabaseRefused where the tables are missing, and then has written
    nothing or whole parts of the batch.
    """
    lines = parse_records(batch.records, parser)
    try:
        return _write(database, batch, lines, parser, copy=database.copies)
    except DataRefused:
        return _write_carefully(database, batch, lines, parser)


def _write_carefully(
    database: Database, batch: StreamBatch, lines: ParsedBatch, parser: EventParser
) -> WriteCounts:
    """Without COPY, which a row that is there makes fail; and by halves, down to the line that is refused."""
    try:
        return _write(database, batch, lines, parser, copy=False)
    except DataRefused as error:
        # No line that was read should come to this. If one does, it must not hold up the others for ever.
        if len(batch.records) == 1:
            refused = ParsedBatch(malformed=[(batch.records[0], UNSTORABLE, str(error))])
            return _write(database, batch, refused, parser, copy=False)
        first, second = (
            _write_carefully(database, half, parse_records(half.records, parser), parser)
            for half in batch.halves
        )
        return first + second


def _write(
    database: Database, batch: StreamBatch, lines: ParsedBatch, parser: EventParser, *, copy: bool
) -> WriteCounts:
    # Of the batches of one partition one is written at a time: the others wait here, without a connection.
    with database.turn(batch.topic_id, batch.partition), database.transaction() as cursor:
        entry = written_offsets.load_for_batch(cursor, batch)
        if entry.written:
            new = entry.new(batch.records)
            if not new:
                written_offsets.record_delivery(cursor, entry, batch, 0)
                return WriteCounts()
            lines = parse_records(new, parser)
        written = _write_lines(cursor, entry, lines, len(batch.records), copy=copy)
        written_offsets.record_delivery(cursor, entry, batch, written.lines)
        return written


def _write_lines(
    cursor: Any, entry: WrittenOffsets, lines: ParsedBatch, count: int, *, copy: bool
) -> WriteCounts:
    written = write_rows(cursor, (entry.topic_key, entry.partition), lines, copy=copy)
    unaggregated = watch_sessions.aggregate_when_due(cursor, entry, count, written.watches)
    written_offsets.save(cursor, entry, written.counts, unaggregated)
    return written


def write_rows(cursor: Any, place: tuple[int, int], lines: ParsedBatch, *, copy: bool) -> WriteCounts:
    """Write the rows of one (topic_key, partition), of which with ``copy`` none may be there yet."""
    write_watches = _copy_watches if copy else _insert_watches
    return WriteCounts(
        watches=write_watches(cursor, place, lines),
        ratings=_insert(cursor, _RATINGS, place, lines.ratings, lines.rating_columns),
        recommendation_requests=_insert(cursor, _REQUESTS, place, lines.requests, lines.request_columns),
        accounts=_insert(cursor, _ACCOUNTS, place, lines.accounts, lines.account_columns),
        quarantine=_insert(cursor, _QUARANTINE, place, lines.malformed, lines.quarantine_columns),
    )


def _insert_watches(cursor: Any, place: tuple[int, int], lines: ParsedBatch) -> int:
    return _insert(cursor, _WATCHES, place, lines.watches, lines.watch_columns)


def _copy_watches(cursor: Any, place: tuple[int, int], lines: ParsedBatch) -> int:
    if lines.watches:
        end = f"\t{place[0]}\t{place[1]}\n"
        rows = BytesIO((end.join(lines.watches) + end).encode())
        cursor.copy_expert(_COPY_WATCHES, rows, _COPY_BYTES)
    return len(lines.watches)


def write_impressions(database: Database, batch: ImpressionBatch) -> WriteCounts:
    """Write the impressions of ``batch`` that are not there yet."""
    rows = sorted(batch.impressions, key=lambda impression: impression.id)
    literals = (
        pg_arrays.time_array([row.time for row in rows]),
        pg_arrays.text_array([row.id for row in rows]),
        pg_arrays.text_array([row.user_id for row in rows]),
        pg_arrays.text_array([row.arm for row in rows]),
        pg_arrays.text_array([row.model_version for row in rows]),
        pg_arrays.number_array([row.release for row in rows]),
        pg_arrays.text_array([row.tier for row in rows]),
        pg_arrays.text_array([msgspec.json.encode(row.movies).decode() for row in rows]),
    )
    with database.transaction() as cursor:
        return WriteCounts(impressions=_execute(cursor, _IMPRESSIONS, literals))


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
