"""Counters and gauges of a bridge as plain numbers."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field


class Histogram:
    """Counts of values by upper bound; ``counts`` has one more, for values above the last bound."""

    def __init__(self, *bounds: float) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def add(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value


def _batch_records() -> Histogram:
    return Histogram(1, 10, 100, 500, 1_000, 2_000, 5_000, 10_000, 20_000)


def _delivery_s() -> Histogram:
    return Histogram(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


@dataclass(slots=True)
class BridgeStats:
    """Counters since the start of the bridge; they never decrease."""

    records_read: int = 0
    records_accepted: int = 0
    batches_accepted: int = 0
    deliveries_failed: int = 0
    deliveries_refused: int = 0
    """Failed deliveries that the receiver called invalid."""
    retries: int = 0
    commits: int = 0
    batch_records: Histogram = field(default_factory=_batch_records)
    """Records of each accepted batch."""
    delivery_s: Histogram = field(default_factory=_delivery_s)
    """Seconds from the submission of the last attempt until its acceptance was noticed."""


@dataclass(frozen=True, slots=True)
class PartitionState:
    """Gauges of one partition.

    ``oldest_ms`` is Kafka's timestamp of the oldest record that was read and not accepted, ``behind`` the
    number of records in Kafka that are not accepted, as of the last fetch. Both are None if unknown.
    """

    partition: int
    batches_in_flight: int
    buffered_bytes: int
    paused: bool
    oldest_ms: int | None
    behind: int | None
