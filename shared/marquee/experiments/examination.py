"""The position-based model: a user begins a movie if they examine its position and the movie suits them.

The probability of examination falls with the position k as a power of k: Joachims, Swaminathan and Schnabel, *Unbiased
Learning-to-Rank with Biased Feedback*, WSDM 2017. A second coefficient bends the power law, since real lists need not
follow it. Both are fitted to movies whose position was randomized, so that the movie itself cannot explain
the outcome.
"""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from marquee.experiments.ratio_estimates import Floats

_PRIOR_MEAN = np.array([1.0, 0.0])  # Joachims et al. simulate with the exponent 1.
_PRIOR_PRECISION = np.diag([1.0, 0.25**-2])
_STEPS = 30


class ExaminationCurve(msgspec.Struct, frozen=True):
    """The curve ``k ** -(exponent + bend * log k)``, with the covariance of both and the outcomes behind it.

    ``covariance`` holds the variance of the exponent, the covariance, and the variance of the bend.
    """

    exponent: float
    bend: float
    covariance: tuple[float, float, float]
    outcomes: int

    def at_positions(self, n: int) -> Floats:
        """Return the relative probability of examination of positions 1 to ``n`` [n]; it never rises."""
        return _examine(np.array([self.exponent, self.bend]), n)

    def deviate(self, n: int) -> list[Floats]:
        """Return two curves [n], each one standard deviation away in one of two independent directions.

        The sum of their squared effects on an estimate is its variance due to the fit.
        """
        a, b, c = self.covariance
        root = np.linalg.cholesky(np.array([[a, b], [b, c]]))
        return [_examine(np.array([self.exponent, self.bend]) + root[:, k], n) for k in range(2)]


def fit_examination(position: NDArray[np.int_], chances: Floats) -> ExaminationCurve:
    """Fit the curve to movies begun, given the position of each and the probabilities of its other positions.

    ``position`` [n_begun] counts from 1. ``chances`` [n_begun, n] is the probability of each position for that movie,
    up to a factor. Given that a movie was begun, the probability of position k is proportional to ``chances[k]`` times
    the examination of k. The prior of the exponent has mean 1 and standard deviation 1, that of the bend 0 and 1/4.
    """
    features = _features(chances.shape[1])
    shown = features[position - 1].sum(0)
    coefficients, precision = _PRIOR_MEAN, _PRIOR_PRECISION
    for _ in range(_STEPS):  # Newton's method; the log posterior is concave.
        weights = chances * np.exp(features @ coefficients)
        weights /= weights.sum(1, keepdims=True)
        mean = weights @ features
        slope = shown - mean.sum(0) - _PRIOR_PRECISION @ (coefficients - _PRIOR_MEAN)
        precision = (features.T * weights.sum(0)) @ features - mean.T @ mean + _PRIOR_PRECISION
        step = np.linalg.solve(precision, slope)
        coefficients = coefficients + step / max(float(np.abs(step).max()), 1.0)
        if np.abs(step).max() < 1e-9:
            break
    covariance = np.linalg.inv(precision)
    exponent, bend = coefficients.tolist()
    variances = (float(covariance[0, 0]), float(covariance[0, 1]), float(covariance[1, 1]))
    return ExaminationCurve(exponent, bend, variances, len(position))


def _features(n: int) -> Floats:
    """Return the features of the logarithm of the curve, [n, 2]."""
    logs = np.log(np.arange(1, n + 1))
    return np.stack([-logs, -(logs**2)], 1)


def _examine(coefficients: Floats, n: int) -> Floats:
    return np.minimum.accumulate(np.exp(_features(n) @ coefficients))


def chances_of_exploration(explored: NDArray[np.bool_], tail: NDArray[np.int_], n: int) -> Floats:
    """Return the relative chances [n_lists, n, n] of the positions of the movie at each position of a list.

    ``explored`` [n_lists] marks uniformly drawn lists, in which every position was possible. In the others only the
    last ``tail`` [n_lists] positions were drawn.
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
