"""Multiple testing: p-values from bootstrap samples, and Holm's step-down procedure (Holm, 1979).

Among twenty equal groups, one is expected to differ at the 5 % level by chance. Holm's procedure controls the
probability of any false positive in a family of tests, under any dependence between them.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def bootstrap_p_value(value: float, samples: Floats) -> float:
    """Return the two-sided p-value of the difference ``value`` under the hypothesis of no difference.

    It uses a normal distribution with the standard deviation of the bootstrap ``samples`` [resamples]. A fraction of
    samples could not be below 1 / resamples, which is too coarse for a family of many tests.
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
    """Return the adjusted p-value of each test; a test is significant if it is below the level of the family."""
    n, adjusted, highest = len(p_values), [1.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(n), key=lambda i: p_values[i])):
        highest = max(highest, min(1.0, (n - rank) * p_values[index]))
        adjusted[index] = highest
    return adjusted
