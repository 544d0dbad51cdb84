"""What a bridge has done since it started, and how it stands: plain numbers, for whoever measures."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field


class Histogram:
    """How often a value came, by upper bounds; ``counts`` has one more, for what is above the last."""

    def __init__(self, *bounds: float) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def add(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value


def _batch_lines() -> Histogram:
    return Histogram(1, 10, 100, 500, 1_000, 2_000, 5_000, 10_000, 20_000)


def _delivery_s() -> Histogram:
    return Histogram(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


@dataclass(slots=True)
class BridgeStats:
    """Since the start; only ever grows."""

    lines_read: int = 0
    lines_accepted: int = 0
    batches_accepted: int = 0
    deliveries_failed: int = 0
    deliveries_refused: int = 0
    """Of those that failed: which the receiver called invalid."""
    retries: int = 0
    commits: int = 0
    batch_lines: Histogram = field(default_factory=_batch_lines)
    """Lines of each accepted batch."""
    delivery_s: Histogram = field(default_factory=_delivery_s)
    """Seconds from the last attempt's submission until its acceptance was noticed."""


@dataclass(frozen=True, slots=True)
class PartitionState:
    """One partition now. ``oldest_ms``: Kafka's time of the oldest line not accepted; ``behind``: lines in Kafka
    not accepted, as of the last fetch. Both None where it is not known.
    """

    partition: int
    under_way: int
    bytes_held: int
    paused: bool
    oldest_ms: int | None
    behind: int | None
