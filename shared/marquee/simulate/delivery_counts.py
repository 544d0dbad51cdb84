"""Counts of records written to the event log and acknowledged, by kind and corruption."""

from __future__ import annotations

from collections import Counter
from typing import Any

from marquee.simulate.report import PartitionReport, SimulationReport


class RecordGroup:
    """Counts of the records of one kind, corruption and category.

    :meth:`on_delivery` is the delivery callback of all of them; a closure per record would cost more than
    sending the record.
    """

    __slots__ = ("acknowledged", "category", "corruption", "counts", "kind", "refused", "written")

    def __init__(self, counts: DeliveryCounts, kind: str, corruption: str | None, category: str | None) -> None:
        self.counts, self.kind, self.corruption, self.category = counts, kind, corruption, category
        self.written = self.acknowledged = self.refused = 0

    def on_delivery(self, error: Any, message: Any) -> None:
        """Count one delivery; the Kafka client calls this once for each record."""
        if error is not None:
            self.refused += 1
            self.counts.refusal = str(error)
            return
        self.acknowledge(message.partition(), message.offset())

    def acknowledge(self, partition: int, offset: int | None) -> None:
        """Count one record as stored at ``offset`` of ``partition``.

        Kafka does not report the offset (None) when a retry finds that the broker has the record already.
        """
        self.acknowledged += 1
        self.counts.acknowledged += 1
        span = self.counts.partitions.setdefault(partition, PartitionReport())
        span.records += 1
        if offset is not None:
            span.first = offset if span.first is None else min(span.first, offset)
            span.last = offset if span.last is None else max(span.last, offset)


class DeliveryCounts:
    """Counts of all records, and the partitions that hold them.

    ``refusal`` is the error of the last record that Kafka refused, or empty.
    """

    def __init__(self) -> None:
        self._groups: dict[tuple[str, str | None, str | None], RecordGroup] = {}
        self.partitions: dict[int, PartitionReport] = {}
        self.refusal = ""
        self.acknowledged = 0

    def group(self, kind: str, corruption: str | None = None, category: str | None = None) -> RecordGroup:
        """Return the group of such records, created on first use."""
        key = (kind, corruption, category)
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = RecordGroup(self, *key)
        return group

    @property
    def unacknowledged(self) -> int:
        """Records that were written and not acknowledged."""
        return sum(group.written - group.acknowledged for group in self._groups.values())

    def fill_report(self, report: SimulationReport) -> None:
        """Write the counts into ``report``."""
        records: Counter[str] = Counter()
        malformed: Counter[str] = Counter()
        corrupted: dict[str, dict[str, int]] = {}
        for group in self._groups.values():
            records[group.kind] += group.acknowledged
            if group.category is not None:
                malformed[group.category] += group.acknowledged
            if group.corruption is not None:
                kinds = corrupted.setdefault(group.kind, {})
                kinds[group.corruption] = kinds.get(group.corruption, 0) + group.acknowledged
        report.records, report.malformed, report.corrupted = dict(records), dict(malformed), corrupted
        report.acknowledged, report.unacknowledged = self.acknowledged, self.unacknowledged
        report.partitions = {str(number): span for number, span in sorted(self.partitions.items())}
