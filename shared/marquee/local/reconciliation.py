"""Reconciliation of the records that Kafka acknowledged with the rows in the tables."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from marquee.db.pool import Database
from marquee.db.record_counts import union_of_record_tables
from marquee.errors import DatabaseUnavailable
from marquee.simulate.report import PartitionReport

# Rows and distinct offsets of one range of offsets in one partition, in all tables of records.
_COUNT = f"""
SELECT count(*), count(DISTINCT "offset") FROM (
    {union_of_record_tables('topic_key, partition, "offset"')}
) AS records
WHERE topic_key = (SELECT max(topic_key) FROM topics WHERE topic = %(topic)s)
  AND partition = %(partition)s AND "offset" BETWEEN %(first)s AND %(last)s"""  # noqa: S608


@dataclass(frozen=True, slots=True)
class PartitionReconciliation:
    """One partition: acknowledged records, rows in the tables, and distinct offsets of those rows."""

    acknowledged: int
    rows: int
    offsets: int

    @property
    def missing(self) -> int:
        """Acknowledged records that are in no table."""
        return max(0, self.acknowledged - self.offsets)

    @property
    def duplicated(self) -> int:
        """Rows beyond one per acknowledged record: duplicates in the tables, or in Kafka."""
        return max(0, self.rows - self.offsets) + max(0, self.offsets - self.acknowledged)


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """The partitions of a topic by number, and their totals."""

    partitions: Mapping[int, PartitionReconciliation] = field(default_factory=dict)

    @property
    def acknowledged(self) -> int:
        """Records that Kafka acknowledged."""
        return sum(p.acknowledged for p in self.partitions.values())

    @property
    def rows(self) -> int:
        """Rows in all tables of records, quarantine included."""
        return sum(p.rows for p in self.partitions.values())

    @property
    def missing(self) -> int:
        """Acknowledged records that are in no table."""
        return sum(p.missing for p in self.partitions.values())

    @property
    def duplicated(self) -> int:
        """Rows beyond one per acknowledged record."""
        return sum(p.duplicated for p in self.partitions.values())

    @property
    def exact(self) -> bool:
        """True if each acknowledged record is in the tables once."""
        return self.missing == self.duplicated == 0


def reconcile(database: Database, topic: str, partitions: Mapping[str, PartitionReport]) -> Reconciliation:
    """Compare the offsets in the simulator's report with the rows of the newest ``topic`` of that name."""
    counts: dict[int, PartitionReconciliation] = {}
    with database.transaction() as cursor:
        for number, span in partitions.items():
            offsets = {"topic": topic, "partition": int(number), "first": span.first, "last": span.last}
            cursor.execute(_COUNT, offsets)
            rows, distinct = cursor.fetchone()
            counts[int(number)] = PartitionReconciliation(span.records, rows, distinct)
    return Reconciliation(counts)


def reconcile_when_drained(
    database: Database, topic: str, partitions: Mapping[str, PartitionReport], timeout_s: float = 60.0
) -> Reconciliation:
    """Reconcile repeatedly until no record is missing; return the last result after ``timeout_s``.

    Raises :class:`DatabaseUnavailable` if the database is unavailable at the end of the time limit.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            result = reconcile(database, topic, partitions)
            if result.missing == 0 or time.monotonic() > deadline:
                return result
        except DatabaseUnavailable:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.25)
