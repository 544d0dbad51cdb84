"""How far a distribution has moved: effect sizes, which do not grow with the number of observations as
a test's significance does.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import accumulate

import msgspec

CHANGED, STRONGLY = 0.1, 0.25
"""The population stability index from which one usually speaks of a change, and of a strong one (Siddiqi, *Credit
Risk Scorecards*, 2006)."""
_LEAST_FRACTION = 1e-4  # An empty bin would make the index infinite.

RATING_BINS = 5
ACTIVITY_FROM = (1, 2, 3, 5, 10, 20)
"""Where the bins of an activity begin: ratings of one user in one day."""


class DataProfile(msgspec.Struct, frozen=True):
    """A snapshot in a few numbers. ``shares``: of the ratings, by fifths of the scale; ``mean``: from 0 to 1."""

    ratings: int
    watch_sessions: int
    users: int
    movies: int
    newest: datetime
    mean: float
    fractions: tuple[float, ...]


def stability_index(before: Sequence[float], now: Sequence[float]) -> float:
    """The population stability index of two distributions over the same bins: 0 for equal shares."""
    pairs = [(max(a, _LEAST_FRACTION), max(b, _LEAST_FRACTION)) for a, b in zip(before, now, strict=True)]
    return sum((b - a) * math.log(b / a) for a, b in pairs)


def expected_index(bins: int, n_before: int, n_now: int) -> float:
    """What the index comes to, on average, between two samples of one and the same distribution (Yurdakul and
    Naranjo, 2020).
    """
    return (bins - 1) * (1 / n_before + 1 / n_now)


def wasserstein(before: Sequence[float], now: Sequence[float]) -> float:
    """The Wasserstein-1 distance of two distributions over equal bins of [0, 1]: how far a unit has to be moved."""
    gaps = accumulate(b - a for a, b in zip(before, now, strict=True))
    return sum(abs(gap) for gap in gaps) / (len(before) - 1)


def quintile_fractions(counted: Iterable[tuple[float, int]], low: float, high: float) -> tuple[int, ...]:
    """How many ratings lie in each fifth of the scale from ``low`` to ``high``, of pairs of a rating and its count."""
    found = [0] * RATING_BINS
    for rating, count in counted:
        found[min(int((rating - low) / (high - low) * RATING_BINS), RATING_BINS - 1)] += count
    return tuple(found)
