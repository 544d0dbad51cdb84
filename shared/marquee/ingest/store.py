"""Writes of batches and impressions: one transaction for each batch, idempotent.

A writer locks its partition's row of ``written_offsets`` first, so overlapping batches wait for each
other. All writers take the tables in the same order, and ``watch_sessions``, which partitions share, in
key order, so there are no deadlocks. Almost every record is a watch; watches are written by COPY.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from io import BytesIO
from typing import Any

import msgspec

from marquee.db import pg_arrays, written_offsets
from marquee.db.pool import Database
from marquee.db.written_offsets import WrittenOffsets
from marquee.errors import DataRefused
from marquee.events.batches import ImpressionBatch, StreamBatch
from marquee.events.kinds import EVENT_KINDS, QUARANTINE, RECORD_TABLES, WATCH, EventKind
from marquee.events.parser import EventParser
from marquee.ingest import watch_sessions
from marquee.ingest.row_encoding import ParsedBatch, escape_unstorable, parse_records

UNSTORABLE = "unstorable"
"""Category of a record that was parsed but that the database refused."""

# Bytes handed to libpq at a time.
_COPY_BYTES = 1 << 20

_INSERT_QUARANTINE = """
INSERT INTO quarantine (time, topic_key, partition, "offset", category, detail, raw)
SELECT to_timestamp(time_ms / 1000.0), %s, %s, "offset", category, detail, raw
FROM unnest(%s::bigint[], %s::bigint[], %s::text[], %s::text[], %s::bytea[])
     AS record (time_ms, "offset", category, detail, raw)
ON CONFLICT DO NOTHING"""

_INSERT_IMPRESSIONS = """
INSERT INTO impressions (time, id, user_id, arm, model_version, release, tier, movies)
SELECT * FROM unnest(%s::timestamptz[], %s::text[], %s::text[], %s::text[], %s::text[], %s::integer[],
                     %s::text[], %s::jsonb[])
ON CONFLICT DO NOTHING"""

_INSERT_REJECTED = """
INSERT INTO rejected_events (reason, headers, body, digest) VALUES (%s, %s, %s, %s)
ON CONFLICT (digest) DO NOTHING"""


def _insert_statement(kind: EventKind) -> str:
    """Return the INSERT of one kind; its parameters are topic_key, partition and the columns' arrays."""
    # An array of arrays would have to be rectangular, so text[] is sent joined by commas.
    names = "".join(f", {column.name}" for column in kind.columns)
    values = "".join(
        f", string_to_array({column.name}, ',')" if column.sql_type == "text[]" else f", {column.name}"
        for column in kind.columns
    )
    arrays = "".join(f", %s::{column.sql_type.removesuffix('[]')}[]" for column in kind.columns)
    return f"""
INSERT INTO {kind.table} (time, topic_key, partition, "offset"{names})
SELECT time, %s, %s, "offset"{values}
FROM unnest(%s::timestamptz[], %s::bigint[]{arrays}) AS record (time, "offset"{names})
ON CONFLICT DO NOTHING"""  # noqa: S608


_INSERT = {kind: _insert_statement(kind) for kind in EVENT_KINDS}
_COPY_WATCHES = (
    f'COPY {WATCH.table} ("offset", time, {", ".join(column.name for column in WATCH.columns)}, '
    "topic_key, partition) FROM STDIN"
)


class WriteCounts(Counter[str]):
    """New rows by table; rows that existed before are not counted."""

    @property
    def by_record_table(self) -> dict[str, int]:
        """The new rows of the tables that hold records, zeros included."""
        return {table: self[table] for table in RECORD_TABLES}

    @property
    def records(self) -> int:
        """The number of records that were new."""
        return sum(self.by_record_table.values())


def write_batch(database: Database, batch: StreamBatch, parser: EventParser) -> WriteCounts:
    """Write each record of ``batch`` that is not stored yet, as its event or into quarantine.

    Raises DatabaseUnavailable, or DatabaseRefused if the tables are missing. In both cases nothing is
    written, or complete parts of the batch.
    """
    parsed = parse_records(batch.records, parser)
    try:
        return _write(database, batch, parsed, parser, copy=database.copies)
    except DataRefused:
        return _write_by_halves(database, batch, parsed, parser)


def _write_by_halves(
    database: Database, batch: StreamBatch, parsed: ParsedBatch, parser: EventParser
) -> WriteCounts:
    """Write without COPY, which fails on a row that exists; divide the batch down to the refused record."""
    try:
        return _write(database, batch, parsed, parser, copy=False)
    except DataRefused as error:
        # The parser should accept nothing that the database refuses. If it does, only that record is quarantined.
        if len(batch.records) == 1:
            refused = ParsedBatch(malformed=[(batch.records[0], UNSTORABLE, str(error))])
            return _write(database, batch, refused, parser, copy=False)
        written = WriteCounts()
        for half in batch.halves:
            written.update(_write_by_halves(database, half, parse_records(half.records, parser), parser))
        return written


def _write(
    database: Database, batch: StreamBatch, parsed: ParsedBatch, parser: EventParser, *, copy: bool
) -> WriteCounts:
    # One batch of a partition is written at a time; the others wait here without a connection.
    with database.keyed_lock(batch.topic_id, batch.partition), database.transaction() as cursor:
        entry = written_offsets.load_for_batch(cursor, batch)
        if entry.written:
            new = entry.new(batch.records)
            if not new:
                written_offsets.record_delivery(cursor, entry, batch, 0)
                return WriteCounts()
            parsed = parse_records(new, parser)
        written = _write_parsed(cursor, entry, parsed, len(batch.records), copy=copy)
        written_offsets.record_delivery(cursor, entry, batch, written.records)
        return written


def _write_parsed(
    cursor: Any, entry: WrittenOffsets, parsed: ParsedBatch, records: int, *, copy: bool
) -> WriteCounts:
    written = write_rows(cursor, entry.topic_key, entry.partition, parsed, copy=copy)
    unaggregated = watch_sessions.aggregate_when_due(cursor, entry, records, written[WATCH.table])
    written_offsets.save(cursor, entry, written.by_record_table, unaggregated)
    return written


def write_rows(
    cursor: Any, topic_key: int, partition: int, parsed: ParsedBatch, *, copy: bool
) -> WriteCounts:
    """Write the rows of one partition. With ``copy``, none of its watches may exist yet."""
    written = WriteCounts()
    for kind in EVENT_KINDS:
        if kind is WATCH and copy:
            written[kind.table] = _copy_watches(cursor, topic_key, partition, parsed.watches)
        elif parsed.count(kind):
            written[kind.table] = _execute(
                cursor, _INSERT[kind], (topic_key, partition, *parsed.columns(kind))
            )
    if parsed.malformed:
        values = (topic_key, partition, *parsed.quarantine_columns())
        written[QUARANTINE] = _execute(cursor, _INSERT_QUARANTINE, values)
    return written


def _copy_watches(cursor: Any, topic_key: int, partition: int, watches: list[str]) -> int:
    if watches:
        end = f"\t{topic_key}\t{partition}\n"
        rows = BytesIO((end.join(watches) + end).encode())
        cursor.copy_expert(_COPY_WATCHES, rows, _COPY_BYTES)
    return len(watches)


def write_impressions(database: Database, batch: ImpressionBatch) -> WriteCounts:
    """Write the impressions of ``batch`` that are not stored yet."""
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
        return WriteCounts(impressions=_execute(cursor, _INSERT_IMPRESSIONS, literals))


def store_rejected(database: Database, reason: str, headers: Mapping[str, str], body: bytes) -> None:
    """Store a delivery that is not a valid event, once for each body."""
    escaped = {name: escape_unstorable(value) for name, value in headers.items()}
    document = escape_unstorable(msgspec.json.encode(escaped).decode())
    digest = hashlib.sha256(body).digest()
    with database.transaction() as cursor:
        _execute(cursor, _INSERT_REJECTED, (escape_unstorable(reason), document, body, digest))


def _execute(cursor: Any, statement: str, parameters: tuple[object, ...]) -> int:
    try:
        cursor.execute(statement, parameters)
    except ValueError as error:  # psycopg2 itself refuses NUL and lone surrogates.
        raise DataRefused(f"A value cannot be stored: {error}") from error
    return int(cursor.rowcount)
