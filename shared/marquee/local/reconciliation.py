"""Every line exactly once: what Kafka acknowledged to the simulator against what the tables hold."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from marquee.db.pool import Database
from marquee.db.record_counts import union_of_record_tables
from marquee.errors import DatabaseUnavailable
from marquee.simulate.report import PartitionReport

# The lines of one partition from offset to offset, wherever they were put.
_KEPT = f"""
SELECT count(*), count(DISTINCT "offset") FROM (
    {union_of_record_tables('topic_key, partition, "offset"')}
) AS records
WHERE topic_key = (SELECT max(topic_key) FROM topics WHERE topic = %(topic)s)
  AND partition = %(partition)s AND "offset" BETWEEN %(first)s AND %(last)s"""  # noqa: S608


@dataclass(frozen=True, slots=True)
class PartitionReconciliation:
    """One partition. ``offsets``: how many different ones of the lines acknowledged are in the tables."""

    acknowledged: int
    rows: int
    offsets: int

    @property
    def lost(self) -> int:
        """Lines that Kafka acknowledged and no table holds."""
        return max(0, self.acknowledged - self.offsets)

    @property
    def doubled(self) -> int:
        """Rows beyond one for each line that was acknowledged: in the tables twice, or in Kafka twice."""
        return max(0, self.rows - self.offsets) + max(0, self.offsets - self.acknowledged)


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """All partitions, by number."""

    partitions: Mapping[int, PartitionReconciliation] = field(default_factory=dict)

    @property
    def acknowledged(self) -> int:
        """Lines that Kafka acknowledged."""
        return sum(p.acknowledged for p in self.partitions.values())

    @property
    def rows(self) -> int:
        """Rows in all tables of lines, quarantine among them."""
        return sum(p.rows for p in self.partitions.values())

    @property
    def lost(self) -> int:
        """Lines that Kafka acknowledged and no table holds."""
        return sum(p.lost for p in self.partitions.values())

    @property
    def doubled(self) -> int:
        """Rows that should not be there."""
        return sum(p.doubled for p in self.partitions.values())

    @property
    def exact(self) -> bool:
        """Whether each line is there once."""
        return self.lost == self.doubled == 0


def reconcile(database: Database, topic: str, partitions: Mapping[str, PartitionReport]) -> Reconciliation:
    """Compare the lines that the simulator's report says were acknowledged with the tables."""
    found: dict[int, PartitionReconciliation] = {}
    with database.transaction() as cursor:
        for number, span in partitions.items():
            place = {"topic": topic, "partition": int(number), "first": span.first, "last": span.last}
            cursor.execute(_KEPT, place)
            rows, offsets = cursor.fetchone()
            found[int(number)] = PartitionReconciliation(span.lines, rows, offsets)
    return Reconciliation(found)


def drained(
    database: Database, topic: str, partitions: Mapping[str, PartitionReport], patience_s: float = 60.0
) -> Reconciliation:
    """The account once nothing is missing, or as it stands after ``patience_s``."""
    deadline = time.monotonic() + patience_s
    while True:
        try:
            standing = reconcile(database, topic, partitions)
            if standing.lost == 0 or time.monotonic() > deadline:
                return standing
        except DatabaseUnavailable:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.25)
