"""Counts of lines by what they are, moved when a line is written and when it is acknowledged."""

from __future__ import annotations

from collections import Counter
from typing import Any

from marquee.simulate.report import PartitionReport, SimulationReport


class PendingRecord:
    """The lines of one kind, corruption and category. Its method is the acknowledgement of each of them:
    one object for all, where a closure a line would cost more than sending it.
    """

    __slots__ = ("acknowledged", "category", "corruption", "kind", "refused", "tally", "written")

    def __init__(
        self, tally: DeliveryCounts, kind: str, corruption: str | None, category: str | None
    ) -> None:
        self.tally, self.kind, self.corruption, self.category = tally, kind, corruption, category
        self.written = self.acknowledged = self.refused = 0

    def delivered(self, error: Any, message: Any) -> None:
        """Called by the Kafka client, once for each line."""
        if error is not None:
            self.refused += 1
            self.tally.refusal = str(error)
            return
        self.keep(message.partition(), message.offset())

    def keep(self, partition: int, offset: int | None) -> None:
        """One line is safe, at ``offset`` of ``partition``. None: it is there, but Kafka does not say where,
        as after a failure, when the broker finds that it had the line already.
        """
        self.acknowledged += 1
        self.tally.acknowledged += 1
        span = self.tally.partitions.setdefault(partition, PartitionReport())
        span.lines += 1
        if offset is not None:
            span.first = offset if span.first is None else min(span.first, offset)
            span.last = offset if span.last is None else max(span.last, offset)


class DeliveryCounts:
    """All entries, and the partitions they went to. ``refusal``: why Kafka gave a line back, if it did."""

    def __init__(self) -> None:
        self._entries: dict[tuple[str, str | None, str | None], PendingRecord] = {}
        self.partitions: dict[int, PartitionReport] = {}
        self.refusal = ""
        self.acknowledged = 0

    def entry(self, kind: str, corruption: str | None = None, category: str | None = None) -> PendingRecord:
        """The entry of such lines, made when it is first asked for."""
        key = (kind, corruption, category)
        found = self._entries.get(key)
        if found is None:
            found = self._entries[key] = PendingRecord(self, *key)
        return found

    @property
    def unacknowledged(self) -> int:
        """Lines that were written and are not known to be safe."""
        return sum(entry.written - entry.acknowledged for entry in self._entries.values())

    def fill(self, report: SimulationReport) -> None:
        """Write the counts into ``report``."""
        lines: Counter[str] = Counter()
        unreadable: Counter[str] = Counter()
        corrupted: dict[str, dict[str, int]] = {}
        for entry in self._entries.values():
            lines[entry.kind] += entry.acknowledged
            if entry.category is not None:
                unreadable[entry.category] += entry.acknowledged
            if entry.corruption is not None:
                kinds = corrupted.setdefault(entry.kind, {})
                kinds[entry.corruption] = kinds.get(entry.corruption, 0) + entry.acknowledged
        report.lines, report.unreadable, report.corrupted = dict(lines), dict(unreadable), corrupted
        report.acknowledged, report.unacknowledged = self.acknowledged, self.unacknowledged
        report.partitions = {str(number): span for number, span in sorted(self.partitions.items())}
