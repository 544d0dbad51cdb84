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
SELECT count(*), count(DISTINCT "offset"), max("offset") FROM (
    {union_of_record_tables('topic_key, partition, "offset"')}
) AS records
WHERE topic_key = (SELECT topic_key FROM topics WHERE topic_id = %(topic_id)s)
  AND partition = %(partition)s AND "offset" BETWEEN %(first)s AND %(last)s"""  # noqa: S608


@dataclass(frozen=True, slots=True)
class PartitionReconciliation:
    """One partition: acknowledged records, rows in the tables, and distinct offsets of those rows.

    ``ahead`` is the number of offsets after the last one that is written.
    """

    acknowledged: int
    rows: int
    offsets: int
    ahead: int = 0

    @property
    def missing(self) -> int:
        """Acknowledged records that are in no table."""
        return max(0, self.acknowledged - self.offsets)

    @property
    def unwritten(self) -> int:
        """Missing records that Kafka still holds for the bridge: it reads in order, and is not there yet."""
        return min(self.missing, self.ahead)

    @property
    def lost(self) -> int:
        """Missing records behind the last written offset, which nothing will write any more."""
        return self.missing - self.unwritten

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
    def unwritten(self) -> int:
        """Missing records that are not written yet."""
        return sum(p.unwritten for p in self.partitions.values())

    @property
    def lost(self) -> int:
        """Missing records that nothing will write any more."""
        return sum(p.lost for p in self.partitions.values())

    @property
    def duplicated(self) -> int:
        """Rows beyond one per acknowledged record."""
        return sum(p.duplicated for p in self.partitions.values())

    @property
    def exact(self) -> bool:
        """True if each acknowledged record is in the tables once."""
        return self.missing == self.duplicated == 0

    def __add__(self, other: Reconciliation) -> Reconciliation:
        """Return the totals of two topics of one name, partition by partition."""
        total = dict(self.partitions)
        for number, p in other.partitions.items():
            if before := total.get(number):
                p = PartitionReconciliation(
                    before.acknowledged + p.acknowledged,
                    before.rows + p.rows,
                    before.offsets + p.offsets,
                    before.ahead + p.ahead,
                )
            total[number] = p
        return Reconciliation(total)


def reconcile(database: Database, topic_id: str, partitions: Mapping[str, PartitionReport]) -> Reconciliation:
    """Compare the offsets in the simulator's report with the rows of the topic with this id."""
    counts: dict[int, PartitionReconciliation] = {}
    with database.transaction() as cursor:
        for number, span in partitions.items():
            offsets = {
                "topic_id": topic_id,
                "partition": int(number),
                "first": span.first,
                "last": span.last,
            }
            cursor.execute(_COUNT, offsets)
            rows, distinct, newest = cursor.fetchone()
            counts[int(number)] = PartitionReconciliation(span.records, rows, distinct, _ahead(span, newest))
    return Reconciliation(counts)


def reconcile_when_drained(
    database: Database, topic_id: str, partitions: Mapping[str, PartitionReport], timeout_s: float = 60.0
) -> Reconciliation:
    """Reconcile repeatedly until no record is missing; return the last result ``timeout_s`` after the last progress.

    Raises :class:`DatabaseUnavailable` if the database is unavailable at the end of the time limit.
    """
    deadline = time.monotonic() + timeout_s
    fewest: int | None = None
    while True:
        try:
            result = reconcile(database, topic_id, partitions)
            if fewest is None or result.missing < fewest:
                fewest, deadline = result.missing, time.monotonic() + timeout_s
            if result.missing == 0 or time.monotonic() > deadline:
                return result
        except DatabaseUnavailable:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.25)


def _ahead(span: PartitionReport, newest: int | None) -> int:
    """Return the number of offsets of ``span`` after the newest one that is written."""
    if span.first is None or span.last is None:
        return 0
    return span.last - (span.first - 1 if newest is None else newest)
