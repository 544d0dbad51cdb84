"""How much has been written: exact counts for accounts and tests, cheap totals for a display."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from marquee.db.pool import Database


@dataclass(frozen=True, slots=True)
class RecordCounts:
    """Rows by table. ``lines`` is what every line of the stream must add up to.

    ``next_offsets`` maps (topic, partition) of each topic's newest incarnation to the offset after the
    highest one that was written.
    """

    watches: int
    ratings: int
    recommendation_requests: int
    accounts: int
    quarantine: int
    quarantine_by_category: Mapping[str, int]
    next_offsets: Mapping[tuple[str, int], int]
    impressions: int
    rejected_events: int

    @property
    def lines(self) -> int:
        """Lines kept: events of all kinds, and those in quarantine."""
        return self.watches + self.ratings + self.recommendation_requests + self.accounts + self.quarantine


_COUNTS = """
SELECT (SELECT count(*) FROM watches), (SELECT count(*) FROM ratings),
       (SELECT count(*) FROM recommendation_requests), (SELECT count(*) FROM accounts),
       (SELECT count(*) FROM quarantine)"""

_TOTALS = """
SELECT coalesce(sum(watches), 0)::bigint, coalesce(sum(ratings), 0)::bigint,
       coalesce(sum(recommendation_requests), 0)::bigint, coalesce(sum(accounts), 0)::bigint,
       coalesce(sum(quarantine), 0)::bigint
FROM written_offsets"""

_QUARANTINE = "SELECT category, count(*) FROM quarantine GROUP BY category ORDER BY category"

# Of each topic its newest incarnation.
_NEXT_OFFSETS = """
SELECT topic, partition, next_offset FROM written_offsets JOIN topics USING (topic_key)
WHERE topic_key IN (SELECT max(topic_key) FROM topics GROUP BY topic) ORDER BY topic, partition"""

_OTHERS = "SELECT (SELECT count(*) FROM impressions), (SELECT count(*) FROM rejected_events)"


def count_records(database: Database) -> RecordCounts:
    """Count the rows: exact, all of one moment, and as slow as the tables are long."""
    return _count(database, _COUNTS)


def count_all(database: Database) -> RecordCounts:
    """The same, but with the lines by table from running counters, and so quick at any size.

    What retention has removed since still counts.
    """
    return _count(database, _TOTALS)


def _count(database: Database, lines: str) -> RecordCounts:
    with database.transaction() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        watches, ratings, requests, accounts, quarantine = _rows(cursor, lines)[0]
        impressions, rejected = _rows(cursor, _OTHERS)[0]
        return RecordCounts(
            watches=watches,
            ratings=ratings,
            recommendation_requests=requests,
            accounts=accounts,
            quarantine=quarantine,
            quarantine_by_category=dict(_rows(cursor, _QUARANTINE)),
            next_offsets={
                (topic, partition): after for topic, partition, after in _rows(cursor, _NEXT_OFFSETS)
            },
            impressions=impressions,
            rejected_events=rejected,
        )


def _rows(cursor: Any, query: str) -> list[tuple[Any, ...]]:
    cursor.execute(query)
    rows: list[tuple[Any, ...]] = cursor.fetchall()
    return rows
