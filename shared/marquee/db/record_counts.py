"""Counts of stored records: exact counts for reconciliation and tests, cheap totals for a display."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from marquee.db.pool import Database
from marquee.events.kinds import QUARANTINE, RECORD_TABLES


@dataclass(frozen=True, slots=True)
class RecordCounts:
    """Rows by table.

    ``next_offsets`` maps (topic, partition) of each topic's newest incarnation to the offset after the
    highest one that was written.
    """

    by_table: Mapping[str, int]
    """Rows of the tables that hold records."""
    quarantine_by_category: Mapping[str, int]
    next_offsets: Mapping[tuple[str, int], int]
    impressions: int
    rejected_events: int

    @property
    def records(self) -> int:
        """All records: events of every kind, and quarantined records."""
        return sum(self.by_table.values())

    @property
    def quarantined(self) -> int:
        """Records in quarantine."""
        return self.by_table[QUARANTINE]


_COUNTS = "SELECT " + ", ".join(f"(SELECT count(*) FROM {table})" for table in RECORD_TABLES)  # noqa: S608

_TOTAL_COLUMNS = ", ".join(f"coalesce(sum({table}), 0)::bigint" for table in RECORD_TABLES)
_TOTALS = f"SELECT {_TOTAL_COLUMNS} FROM written_offsets"  # noqa: S608

_CATEGORIES = "SELECT category, count(*) FROM quarantine GROUP BY category ORDER BY category"

# Only the newest incarnation of each topic.
_NEXT_OFFSETS = """
SELECT topic, partition, next_offset FROM written_offsets JOIN topics USING (topic_key)
WHERE topic_key IN (SELECT max(topic_key) FROM topics GROUP BY topic) ORDER BY topic, partition"""

_OTHERS = "SELECT (SELECT count(*) FROM impressions), (SELECT count(*) FROM rejected_events)"


def union_of_record_tables(columns: str) -> str:
    """Return the SQL that selects ``columns`` from every table that holds records, with duplicates."""
    return " UNION ALL ".join(f"SELECT {columns} FROM {table}" for table in RECORD_TABLES)  # noqa: S608


def count_records(database: Database) -> RecordCounts:
    """Count the rows: exact, from one snapshot, in time proportional to the size of the tables."""
    return _count(database, _COUNTS)


def count_all(database: Database) -> RecordCounts:
    """Count with the running totals of ``written_offsets``, which is fast at any size.

    Records that retention has deleted still count.
    """
    return _count(database, _TOTALS)


def _count(database: Database, by_table: str) -> RecordCounts:
    with database.transaction() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        counts = _rows(cursor, by_table)[0]
        impressions, rejected = _rows(cursor, _OTHERS)[0]
        return RecordCounts(
            by_table=dict(zip(RECORD_TABLES, counts, strict=True)),
            quarantine_by_category=dict(_rows(cursor, _CATEGORIES)),
            next_offsets={(topic, partition): offset for topic, partition, offset in _rows(cursor, _NEXT_OFFSETS)},
            impressions=impressions,
            rejected_events=rejected,
        )


def _rows(cursor: Any, query: str) -> list[tuple[Any, ...]]:
    cursor.execute(query)
    rows: list[tuple[Any, ...]] = cursor.fetchall()
    return rows
