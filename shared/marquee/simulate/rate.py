"""When things are due."""

from __future__ import annotations

from collections.abc import Iterator

from marquee.simulate.hashed_rng import generator_for

# Held back longer than this, we start afresh: a burst to catch up would be no life of any service.
_OLDEST_DEBT_S = 0.5


class RateLimiter:
    """``rate`` things a second, spread evenly; ``clock`` readings are seconds."""

    def __init__(self, rate: float, clock: float) -> None:
        self._rate, self._from, self._done = rate, clock, 0

    def due(self, clock: float) -> int:
        """How many are due now and have not been done."""
        owed = int((clock - self._from) * self._rate) - self._done
        if owed > self._rate * _OLDEST_DEBT_S + 1:
            self._from, self._done = clock - _OLDEST_DEBT_S, 0
            owed = int(_OLDEST_DEBT_S * self._rate)
        return max(0, owed)

    def did(self, count: int) -> None:
        self._done += count


def poisson_arrivals(rate: float, seed: int) -> Iterator[float]:
    """Seconds from the start at which requests are made: a Poisson process, the same for one ``seed``."""
    chance = generator_for(seed, "arrivals")
    at = 0.0
    while True:
        at += chance.expovariate(rate)
        yield at
