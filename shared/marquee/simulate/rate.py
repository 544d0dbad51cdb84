"""Rates: an even rate limiter, and Poisson arrivals."""

from __future__ import annotations

from collections.abc import Iterator

from marquee.simulate.hashed_rng import generator_for

# After a longer delay the missed items are dropped: no real service would catch up in one burst.
_MAX_BACKLOG_S = 0.5


class RateLimiter:
    """An even rate of ``rate`` items per second; ``now`` is a clock reading in seconds."""

    def __init__(self, rate: float, now: float) -> None:
        self._rate, self._start, self._recorded = rate, now, 0

    def due(self, now: float) -> int:
        """Return the number of items that are due and not recorded yet."""
        due = int((now - self._start) * self._rate) - self._recorded
        if due > self._rate * _MAX_BACKLOG_S + 1:
            self._start, self._recorded = now - _MAX_BACKLOG_S, 0
            due = int(_MAX_BACKLOG_S * self._rate)
        return max(0, due)

    def record(self, count: int) -> None:
        """Record ``count`` items as processed."""
        self._recorded += count


def poisson_arrivals(rate: float, seed: int) -> Iterator[float]:
    """Yield the arrival times of a Poisson process in seconds from its start; the same for the same ``seed``."""
    rng = generator_for(seed, "arrivals")
    at = 0.0
    while True:
        at += rng.expovariate(rate)
        yield at
