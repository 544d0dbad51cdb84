"""The position-based model: a user begins a movie if they examine its position and the movie suits them.

The probability of examination falls with the position k as ``k ** -exponent``: Joachims, Swaminathan and Schnabel,
*Unbiased Learning-to-Rank with Biased Feedback*, WSDM 2017. The exponent is fitted to movies that chance put in one of
several positions, where the movie itself cannot explain the outcome.
"""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from marquee.experiments.ratio_estimates import Floats

_PRIOR_MEAN, _PRIOR_ERROR = 1.0, 1.0  # Joachims et al. simulate with 1.
_HIGHEST = 4.0
_STEPS = 30


class ExaminationCurve(msgspec.Struct, frozen=True):
    """The fitted exponent with its standard error, and the number of outcomes behind it."""

    exponent: float
    error: float
    outcomes: int

    def at_positions(self, n: int) -> Floats:
        """Return the relative probability of examination of positions 1 to ``n`` [n]; that of the first is 1."""
        return np.arange(1, n + 1, dtype=float) ** -self.exponent


def fit_examination(position: NDArray[np.int_], chances: Floats) -> ExaminationCurve:
    """Fit the exponent to begun movies: where each was shown, and where chance could have put it.

    ``position`` [n_begun] counts from 1. ``chances`` [n_begun, n] is the probability of each position for that movie,
    up to a factor. Whatever the movie, it was then begun at k with probability proportional to ``chances[k]`` times
    the examination of k. The prior of the exponent has mean 1 and standard deviation 1.
    """
    logs = np.log(np.arange(1, chances.shape[1] + 1))
    exponent, precision = _PRIOR_MEAN, _PRIOR_ERROR**-2
    for _ in range(_STEPS):  # Newton's method; the log posterior is concave.
        weights = chances * np.exp(-exponent * logs)
        weights /= weights.sum(1, keepdims=True)
        mean = weights @ logs
        slope = (mean - logs[position - 1]).sum() - (exponent - _PRIOR_MEAN) * _PRIOR_ERROR**-2
        precision = float((weights @ logs**2 - mean**2).sum() + _PRIOR_ERROR**-2)
        step = float(np.clip(slope / precision, -1, 1))
        exponent = float(np.clip(exponent + step, 0, _HIGHEST))
        if abs(step) < 1e-9:
            break
    return ExaminationCurve(exponent, precision**-0.5, len(position))


def chances_of_exploration(explored: NDArray[np.bool_], tail: NDArray[np.int_], n: int) -> Floats:
    """Return the relative chances [n_lists, n, n] of the positions of the movie at each position of a list.

    In a list drawn uniformly every position was possible. In the others only the last ``tail`` were drawn.
    """
    positions = np.arange(n)
    in_tail = positions >= n - tail[:, None]
    both = in_tail[:, :, None] & in_tail[:, None, :]
    return np.where(explored[:, None, None], 1.0, np.where(both, 1.0, np.eye(n)))


def chances_of_arms(position: NDArray[np.int_], other: NDArray[np.int_], n: int) -> Floats:
    """Return the chances [n_begun, n] of movies that two equally likely arms put at ``position`` and at ``other``."""
    chances = np.zeros((len(position), n))
    rows = np.arange(len(position))
    chances[rows, position - 1] = 1.0
    chances[rows, other - 1] = 1.0
    return chances
