"""Plausible times of records, by Kafka's timestamp and the writer's clock (docs/decisions/0025-plausible-times.md).

A record's own time is data. Kafka's timestamp is metadata from another clock, used only where it is plausible itself.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

MAX_AHEAD_OF_CLOCK = timedelta(days=1)
"""Further ahead of the writer's clock, a time is implausible: zones and clocks differ by less."""
MAX_AHEAD_OF_KAFKA = timedelta(days=366)
"""Further ahead of a plausible Kafka timestamp, a time is implausible. Timestamps that a producer or a mirror sets may
be months old."""

_DAY_MS = 86_400_000
_AHEAD_OF_CLOCK_MS = MAX_AHEAD_OF_CLOCK.days * _DAY_MS
_AHEAD_OF_KAFKA_MS = MAX_AHEAD_OF_KAFKA.days * _DAY_MS
# Kafka was first released in 2011. An earlier timestamp is not a clock's: it is 0, or counts seconds.
_FIRST_KAFKA_MS = 1_293_840_000_000


@dataclass(frozen=True, slots=True)
class TimeBounds:
    """Bounds of the times of a batch that is written at ``now_ms``, in milliseconds since 1970."""

    now_ms: int

    def known_timestamp_ms(self, timestamp_ms: int) -> int | None:
        """Return Kafka's timestamp, or None if it is missing, before 1970, or ahead of the clock."""
        return timestamp_ms if 0 <= timestamp_ms <= self.now_ms + _AHEAD_OF_CLOCK_MS else None

    def latest(self, timestamps_ms: Sequence[int]) -> datetime:
        """Return the latest time that is plausible for each record with one of these Kafka timestamps."""
        latest_ms = self.now_ms + _AHEAD_OF_CLOCK_MS
        oldest_ms = min((ms for ms in timestamps_ms if _FIRST_KAFKA_MS <= ms <= latest_ms), default=latest_ms)
        return datetime.fromtimestamp(min(latest_ms, oldest_ms + _AHEAD_OF_KAFKA_MS) / 1000, UTC)


def current_bounds() -> TimeBounds:
    """Return the bounds of a batch that is written now."""
    return TimeBounds(time.time_ns() // 1_000_000)
