"""Distances between distributions.

They are effect sizes. Unlike the p-value of a test they do not depend on the number of observations.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import accumulate

import msgspec

MODERATE_CHANGE, STRONG_CHANGE = 0.1, 0.25
"""Conventional limits of the population stability index (Siddiqi, *Credit Risk Scorecards*, 2006)."""
# An empty bin would make the index infinite.
_MIN_FRACTION = 1e-4

RATING_BINS = 5
ACTIVITY_BIN_STARTS = (1, 2, 3, 5, 10, 20)
"""Smallest number of ratings of a user and day in each activity bin."""


class DataProfile(msgspec.Struct, frozen=True):
    """Summary of a snapshot.

    ``fractions`` are those of the ratings in each fifth of the scale. ``mean`` is the mean rating, scaled to [0, 1].
    """

    ratings: int
    watch_sessions: int
    users: int
    movies: int
    newest: datetime
    mean: float
    fractions: tuple[float, ...]


def stability_index(reference: Sequence[float], current: Sequence[float]) -> float:
    """Return the population stability index of two distributions over the same bins; 0 if they are equal.

    PSI = sum over bins of (q - p) ln(q / p), the symmetrized Kullback-Leibler divergence.
    """
    pairs = [(max(a, _MIN_FRACTION), max(b, _MIN_FRACTION)) for a, b in zip(reference, current, strict=True)]
    return sum((b - a) * math.log(b / a) for a, b in pairs)


def expected_stability_index(bins: int, n_reference: int, n_current: int) -> float:
    """Return the expected index of two samples of the same distribution (Yurdakul and Naranjo, 2020)."""
    return (bins - 1) * (1 / n_reference + 1 / n_current)


def wasserstein_distance(reference: Sequence[float], current: Sequence[float]) -> float:
    """Return the Wasserstein-1 distance of two distributions over equal bins of [0, 1]."""
    gaps = accumulate(b - a for a, b in zip(reference, current, strict=True))
    return sum(abs(gap) for gap in gaps) / (len(reference) - 1)


def count_rating_bins(counts: Iterable[tuple[float, int]], low: float, high: float) -> tuple[int, ...]:
    """Return the number of ratings in each fifth of the scale from ``low`` to ``high``.

    ``counts`` are pairs of a rating and its number of occurrences.
    """
    bins = [0] * RATING_BINS
    for rating, count in counts:
        bins[min(int((rating - low) / (high - low) * RATING_BINS), RATING_BINS - 1)] += count
    return tuple(bins)
