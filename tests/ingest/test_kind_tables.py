"""Tests that the database and every consumer of the tables know every event kind."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from tests.events.json_examples import EXAMPLES
from tests.support.records import batch, rows

from marquee.db import record_counts
from marquee.db.pool import Database
from marquee.db.privacy_marks import FORGOTTEN, MarkReader, change_mark
from marquee.db.record_counts import union_of_record_tables
from marquee.events.json_records import JsonRecordParser
from marquee.events.kinds import EVENT_KINDS, QUARANTINE, RECORD_TABLES, EventKind
from marquee.events.log_scale import FIVE_STARS, LogScale
from marquee.ingest.row_encoding import parse_records
from marquee.ingest.store import WriteCounts, write_batch
from marquee.monitoring.batch_checks import check_batches

KEY = "k" * 32
EACH_KIND = pytest.mark.parametrize("kind_of_event", EVENT_KINDS, ids=lambda kind: kind.name)
_COLUMNS = """
SELECT attname::text, format_type(atttypid, NULL) FROM pg_attribute
WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped"""


@EACH_KIND
def test_event_kind_table_has_its_columns(database: Database, kind_of_event: EventKind) -> None:
    """The table has the columns of every event table and those of the kind, with their types."""
    expected = {
        "time": "timestamp with time zone",
        "topic_key": "integer",
        "partition": "integer",
        "offset": "bigint",
        **{column.name: column.sql_type for column in kind_of_event.columns},
    }
    assert dict(rows(database, _COLUMNS, kind_of_event.table)) == expected


def test_written_offsets_has_a_counter_for_each_record_table(database: Database) -> None:
    """The counter has the name of the table."""
    assert set(RECORD_TABLES) <= set(dict(rows(database, _COLUMNS, "written_offsets")))


def test_parse_records_groups_each_kind() -> None:
    """One record of each kind becomes one event of each kind."""
    parsed = parse_records(batch([*EXAMPLES]).records, JsonRecordParser(LogScale(1, 10)))
    assert [parsed.count(kind) for kind in EVENT_KINDS] == [1] * len(EVENT_KINDS)
    assert parsed.malformed == []


def test_consumers_of_tables_know_each_kind(database: Database) -> None:
    """Counts, running totals, the view per minute, the union of tables and the volume checks include each kind."""
    one_each = WriteCounts(dict.fromkeys(RECORD_TABLES, 1))
    with database.transaction() as cursor:
        change_mark(cursor, KEY, ["forgotten"], FORGOTTEN)
    values, reader = [*EXAMPLES, "malformed", "2026-02-14T00:09:20,forgotten,"], MarkReader(KEY)
    assert write_batch(database, batch(values), JsonRecordParser(LogScale(1, 10)), reader) == one_each
    for counts in (record_counts.count_records(database), record_counts.count_all(database)):
        assert counts.by_table == one_each
    names = {kind.name for kind in EVENT_KINDS}
    assert {kind for (kind,) in rows(database, "SELECT kind FROM records_per_minute")} == {*names, QUARANTINE}
    assert len(rows(database, union_of_record_tables("partition"))) == len(RECORD_TABLES)
    checks = {check.name for check in check_batches(database, datetime(2026, 3, 1, tzinfo=UTC), FIVE_STARS)}
    assert {f"volume.{name}" for name in names} <= checks
