"""Significance of many differences at once: Holm's step-down procedure (Holm, 1979).

Of twenty groups that are all alike, one differs at the level of 5 % by chance. Holm's procedure keeps the probability
of any false finding of a family below the level, whatever the dependence between the tests.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def bootstrap_p_value(value: float, samples: Floats) -> float:
    """Return the two-sided probability of a difference as large as ``value`` if there is none.

    It is that of the normal distribution with the standard deviation of the bootstrap ``samples`` [resamples]. A count
    of samples could not be below 1 / resamples, which is too coarse for a family of many tests.
    """
    if len(samples) < 2 or not np.isfinite(value):
        return 1.0
    error = float(np.std(samples, ddof=1))
    if not np.isfinite(error):
        return 1.0
    if not error:
        return 1.0 if not value else 0.0
    return 2 * (1 - NormalDist().cdf(abs(value) / error))


def adjust_holm(p_values: Sequence[float]) -> list[float]:
    """Return the adjusted p-value of each test of the family: it is significant if this is below the level."""
    n, adjusted, highest = len(p_values), [1.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(n), key=lambda i: p_values[i])):
        highest = max(highest, min(1.0, (n - rank) * p_values[index]))
        adjusted[index] = highest
    return adjusted
