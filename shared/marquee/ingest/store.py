"""Writes of batches and impressions: one transaction for each batch, idempotent.

A writer locks its partition's row of ``written_offsets`` first, so overlapping batches wait for each
other. All writers take the tables in the same order, and ``watch_sessions``, which partitions share, in
key order, so there are no deadlocks. COPY is for watches only, which almost every record is; all other rows
are written by INSERT.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import msgspec

from marquee.db import pg_arrays, written_offsets
from marquee.db.pool import Database
from marquee.db.privacy_marks import MarkReader, MarkSet, is_pseudonym
from marquee.db.written_offsets import WrittenOffsets
from marquee.errors import DataRefused
from marquee.events.batches import Impression, ImpressionBatch, Record, StreamBatch, is_named
from marquee.events.kinds import DROPPED, EVENT_KINDS, QUARANTINE, RECORD_TABLES, WATCH, Column, EventKind
from marquee.events.parser import RecordParser
from marquee.ingest import watch_sessions
from marquee.ingest.known_records import check_same_records
from marquee.ingest.marked_users import apply_marks, find_user_ids
from marquee.ingest.row_encoding import ParsedBatch, escape_unstorable, parse_records
from marquee.ingest.time_bounds import TimeBounds, current_bounds

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

_INSERT_DROPPED = """
INSERT INTO dropped_records (topic_key, partition, "offset") SELECT %s, %s, unnest(%s::bigint[])
ON CONFLICT DO NOTHING"""

_INSERT_IMPRESSIONS = """
INSERT INTO impressions (time, id, user_id, arm, model_version, release, tier, movies, explored, eligible, policy,
                         notes, page, took_ms, inputs)
SELECT time, id, user_id, arm, model_version, release, tier, movies, explored, eligible, policy,
       string_to_array(notes, ','), page, took_ms, nullif(inputs, 'null')
FROM unnest(%s::timestamptz[], %s::text[], %s::text[], %s::text[], %s::text[], %s::integer[], %s::text[], %s::jsonb[],
            %s::boolean[], %s::integer[], %s::integer[], %s::text[], %s::smallint[], %s::real[],
            %s::jsonb[])
     AS row (time, id, user_id, arm, model_version, release, tier, movies, explored, eligible, policy, notes, page,
             took_ms, inputs)
ON CONFLICT DO NOTHING"""

MAX_BODY_BYTES = 65_536
"""Bytes that are kept of a rejected body. Its size and its SHA-256 are those of the whole."""
_MAX_REASON = 1_000

_INSERT_REJECTED = """
INSERT INTO rejected_events (reason, headers, body, body_bytes, digest) VALUES (%s, %s, %s, %s, %s)
ON CONFLICT (digest) DO NOTHING"""


def _insert_statement(kind: EventKind) -> str:
    """Return the INSERT of one kind; its parameters are topic_key, partition and the columns' arrays."""
    # An array of arrays would have to be rectangular, so text[] is sent joined by commas.
    names = "".join(f", {column.name}" for column in kind.columns)
    values = "".join(f", {_value(column)}" for column in kind.columns)
    arrays = "".join(
        ", %s::float8[]" if column.in_steps else f", %s::{column.sql_type.removesuffix('[]')}[]"
        for column in kind.columns
    )
    return f"""
INSERT INTO {kind.table} (time, topic_key, partition, "offset"{names})
SELECT time, %s, %s, "offset"{values}
FROM unnest(%s::timestamptz[], %s::bigint[]{arrays}) AS record (time, "offset"{names})
ON CONFLICT DO NOTHING"""  # noqa: S608


def _value(column: Column) -> str:
    if column.in_steps:
        # As text, because a number would be rounded: a rating between two steps is to be refused.
        return f"({column.name} / rating_step())::text::{column.sql_type}"
    return f"string_to_array({column.name}, ',')" if column.sql_type == "text[]" else column.name


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


@dataclass(frozen=True, slots=True)
class _Parsing:
    """The parser of a batch, the bounds of its times, and the reader of the marked users."""

    parser: RecordParser
    bounds: TimeBounds
    reader: MarkReader

    def parse(self, records: Sequence[Record]) -> ParsedBatch:
        return parse_records(records, self.parser, self.bounds)

    def oldest_ms(self, records: Sequence[Record]) -> int | None:
        """Return the first known Kafka timestamp, or None."""
        known = (self.bounds.known_timestamp_ms(record.timestamp_ms) for record in records)
        return next((time_ms for time_ms in known if time_ms is not None), None)


def write_batch(
    database: Database, batch: StreamBatch, parser: RecordParser, reader: MarkReader | None = None
) -> WriteCounts:
    """Write each record of ``batch`` that is not stored yet, as its event or into quarantine.

    Records of users whom ``reader`` finds marked are dropped, and counted as such. On an error nothing is written, or
    complete parts of the batch. Raises :class:`DatabaseUnavailable`, :class:`DatabaseRefused` if the tables are
    missing, or :class:`TopicRecreated`.
    """
    parsing = _Parsing(parser, current_bounds(), reader or MarkReader())
    parsed = parsing.parse(batch.records)
    try:
        return _write(database, batch, parsed, parsing, copy=database.copies)
    except DataRefused:
        return _write_by_halves(database, batch, parsed, parsing)


def _write_by_halves(database: Database, batch: StreamBatch, parsed: ParsedBatch, parsing: _Parsing) -> WriteCounts:
    """Write without COPY, which fails on a row that exists; divide the batch down to the refused record."""
    try:
        return _write(database, batch, parsed, parsing, copy=False)
    except DataRefused as error:
        # The parser should accept nothing that the database refuses. If it does, only that record is quarantined.
        if len(batch.records) == 1:
            refused = ParsedBatch(malformed=[(batch.records[0], UNSTORABLE, str(error))])
            return _write(database, batch, refused, parsing, copy=False)
        written = WriteCounts()
        for half in batch.halves:
            written.update(_write_by_halves(database, half, parsing.parse(half.records), parsing))
        return written


def _write(
    database: Database, batch: StreamBatch, parsed: ParsedBatch, parsing: _Parsing, *, copy: bool
) -> WriteCounts:
    oldest_ms = parsing.oldest_ms(batch.records)
    # One batch of a partition is written at a time; the others wait here without a connection.
    with database.keyed_lock(batch.topic_id, batch.partition), database.transaction() as cursor:
        entry = written_offsets.load_for_batch(cursor, batch)
        if entry.written:
            new = entry.new(batch.records)
            if is_named(batch.topic_id) and len(new) < len(batch.records):
                check_same_records(cursor, entry, batch, parsing.parse)
            if not new:
                written_offsets.record_delivery(cursor, entry, len(batch.records), 0, oldest_ms)
                return WriteCounts()
            parsed = parsing.parse(new)
        apply_marks(parsed, parsing.reader.load(cursor))
        written = write_parsed(cursor, entry, parsed, parsing.bounds, len(batch.records), copy=copy)
        written_offsets.record_delivery(cursor, entry, len(batch.records), written.records, oldest_ms)
        return written


def write_parsed(
    cursor: Any, entry: WrittenOffsets, parsed: ParsedBatch, bounds: TimeBounds, records: int, *, copy: bool
) -> WriteCounts:
    """Write the new rows of a batch of ``records``, their watch sessions, and the ledger."""
    written = write_rows(cursor, entry.topic_key, entry.partition, parsed, bounds, copy=copy)
    unaggregated = watch_sessions.aggregate_when_due(cursor, entry, records, written[WATCH.table])
    written_offsets.save_offsets(cursor, entry, written.by_record_table, unaggregated)
    return written


def write_rows(
    cursor: Any, topic_key: int, partition: int, parsed: ParsedBatch, bounds: TimeBounds, *, copy: bool
) -> WriteCounts:
    """Write the rows of one partition. With ``copy``, none of its watches may exist yet."""
    written = WriteCounts()
    for kind in EVENT_KINDS:
        if kind is WATCH and copy:
            written[kind.table] = _copy_watches(cursor, topic_key, partition, parsed.watches)
        elif parsed.count(kind):
            written[kind.table] = execute(cursor, _INSERT[kind], (topic_key, partition, *parsed.columns(kind)))
    if parsed.malformed:
        values = (topic_key, partition, *parsed.quarantine_columns(bounds))
        written[QUARANTINE] = execute(cursor, _INSERT_QUARANTINE, values)
    if parsed.dropped:
        values = (topic_key, partition, pg_arrays.number_array(parsed.dropped))
        written[DROPPED] = execute(cursor, _INSERT_DROPPED, values)
    return written


def _copy_watches(cursor: Any, topic_key: int, partition: int, watches: list[str]) -> int:
    if watches:
        end = f"\t{topic_key}\t{partition}\n"
        rows = BytesIO((end.join(watches) + end).encode())
        cursor.copy_expert(_COPY_WATCHES, rows, _COPY_BYTES)
    return len(watches)


def write_impressions(database: Database, batch: ImpressionBatch, reader: MarkReader | None = None) -> WriteCounts:
    """Write the impressions of ``batch`` that are not stored yet, but none of a marked user.

    `recommend` names users by their stored ids. One that had not yet read that ids are pseudonyms sends plain ids.
    """
    rows = sorted(batch.impressions, key=lambda impression: impression.id)
    with database.transaction() as cursor:
        marks = (reader or MarkReader()).load(cursor)
        if marks.pseudonyms:
            rows = [row if is_pseudonym(row.user_id) else _replace_user(row, marks) for row in rows]
        kept = [row for row in rows if not marks.holds(row.user_id)]
        return WriteCounts(impressions=execute(cursor, _INSERT_IMPRESSIONS, _impression_columns(kept)) if kept else 0)


def _replace_user(row: Impression, marks: MarkSet) -> Impression:
    return msgspec.structs.replace(row, user_id=marks.stored_id(row.user_id))


def _impression_columns(rows: Sequence[Impression]) -> tuple[str, ...]:
    return (
        pg_arrays.time_array([row.time for row in rows]),
        pg_arrays.text_array([row.id for row in rows]),
        pg_arrays.text_array([row.user_id for row in rows]),
        pg_arrays.text_array([row.arm for row in rows]),
        pg_arrays.text_array([row.model_version for row in rows]),
        pg_arrays.number_array([row.release for row in rows]),
        pg_arrays.text_array([row.tier for row in rows]),
        pg_arrays.text_array([msgspec.json.encode(row.movies).decode() for row in rows]),
        pg_arrays.number_array([int(row.explored) for row in rows]),
        pg_arrays.number_array([row.eligible for row in rows]),
        pg_arrays.number_array([row.policy for row in rows]),
        pg_arrays.text_array([",".join(row.notes) for row in rows]),
        pg_arrays.number_array([row.page for row in rows]),
        pg_arrays.number_array([row.took_ms for row in rows]),
        pg_arrays.text_array([msgspec.json.encode(row.inputs).decode() for row in rows]),
    )


def store_rejected(
    database: Database, reason: str, headers: Mapping[str, str], body: bytes, reader: MarkReader | None = None
) -> None:
    """Store a request that is not a valid CloudEvent, once for each body; a long body is cut.

    A body that names a marked user is not stored.
    """
    escaped = {name: escape_unstorable(value) for name, value in headers.items()}
    document = escape_unstorable(msgspec.json.encode(escaped).decode())
    digest = hashlib.sha256(body).digest()
    values = (escape_unstorable(reason[:_MAX_REASON]), document, body[:MAX_BODY_BYTES], len(body), digest)
    with database.transaction() as cursor:
        marks = (reader or MarkReader()).load(cursor)
        if not (marks and marks.find(find_user_ids(body))):
            execute(cursor, _INSERT_REJECTED, values)


def execute(cursor: Any, statement: str, parameters: tuple[object, ...]) -> int:
    """Execute one statement and return its rows; raises :class:`DataRefused` for a value that cannot be sent."""
    try:
        cursor.execute(statement, parameters)
    except ValueError as error:  # psycopg2 itself refuses NUL and lone surrogates.
        raise DataRefused(f"A value cannot be stored: {error}") from error
    return int(cursor.rowcount)
