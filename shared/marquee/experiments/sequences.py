"""Confidence sequences and e-values in information time, which are valid at all looks simultaneously.

An estimate D of the true value d with variance V has the information I = 1/V. With more users and more data of each
user, D * I behaves like Brownian motion with drift d at time I, including lasting differences between users (Jennison
and Turnbull, *Group Sequential Methods*, 1999, chapter 11). A boundary that Brownian motion never crosses with
probability 1 - alpha is therefore valid whenever anyone looks. All functions work elementwise.
"""

from __future__ import annotations

import math
from functools import lru_cache
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from marquee.experiments.ratio_estimates import Estimate, Floats

ALPHA = 0.05
_MAX_LOG = 690.0


def two_sided_radius(information: ArrayLike, tau: float, alpha: float = ALPHA) -> Floats:
    """Return the half-width of the confidence sequence around the estimate; infinite without information.

    It is the normal mixture, tightest for effects of about ``tau``: Robbins, *Ann. Math. Statist.* 41, 1970; Howard et
    al., *Ann. Statist.* 49, 2021; with an estimated variance, Waudby-Smith et al., *Ann. Statist.* 52, 2024.
    """
    info = _positive(information)
    scaled = 1 + tau**2 * info
    radius = np.sqrt(scaled / (tau * info) ** 2 * (2 * math.log(1 / alpha) + np.log(scaled)))
    return np.where(np.asarray(information) > 0, radius, np.inf)


def one_sided_radius(information: ArrayLike, tau: float, alpha: float = ALPHA) -> Floats:
    """Return the distance of the estimate from its upper bound; infinite without information.

    It is the half-normal mixture of Howard et al., *Ann. Statist.* 49, 2021, proposition 6.
    """
    info, rho = _positive(information), tau**-2
    radius = np.sqrt(2 * (info + rho) * np.log(np.sqrt((info + rho) / rho) / (2 * alpha) + 1)) / info
    return np.where(np.asarray(information) > 0, radius, np.inf)


def log_e_harm(estimate: Estimate, harm: float) -> Floats:
    """Return the logarithm of the e-value against the hypothesis of harm <= 0, which is best for a harm of ``harm``.

    It is the likelihood ratio of the two (Wald, *Ann. Math. Statist.* 16, 1945); 0 without information.
    """
    info = estimate.information
    return harm * info * (np.where(info > 0, estimate.value, 0.0) - harm / 2)


def log_e_difference(estimate: Estimate, tau: float) -> Floats:
    """Return the log e-value against the hypothesis of no difference, tuned to one of ``tau`` in either direction.

    The two-sided sequence contains the values that this e-value does not reject at 1 / alpha.
    """
    info, rho = estimate.information, tau**-2
    s = np.where(info > 0, estimate.value, 0.0) * info / np.sqrt(info + rho)
    return np.asarray(0.5 * np.log(rho / (info + rho)) + s**2 / 2)


def log_e_harm_mixed(estimate: Estimate, margin: float, worst: float) -> Floats:
    """Return the log e-value mixed over harms of m/2, m, 4m, 16m ... up to ``worst``, to detect large harm early.

    From m on, each has a quarter of the weight of the one before: a harm of 4m needs a sixteenth of the data, so the
    weights favor the smallest harm, which is the slowest to detect. Half the margin, with half the weight of m, finds
    harm from a quarter of the margin on.
    """
    harms, weights = [margin], [1.0]
    while harms[-1] * 4 <= worst < math.inf:  # Infinite without a baseline.
        harms.append(harms[-1] * 4)
        weights.append(weights[-1] / 4)
    logs = [log_e_harm(estimate, harm) for harm in (margin / 2, *harms)]
    return log_mean_exp(logs, np.array([0.5, *weights]))


def log_mean_exp(logs: ArrayLike, weights: Floats | None = None) -> Floats:
    """Return the logarithm of the weighted mean of ``exp(logs)`` over the first axis.

    The mean of e-values is an e-value, whatever their dependence.
    """
    values = np.asarray(logs, float)
    highest = values.max(0)
    return np.asarray(highest + np.log(np.average(np.exp(values - highest), axis=0, weights=weights)))


def to_e_value(log_e: float) -> float:
    """Return the e-value of its logarithm, at most e^690, which float64 can hold."""
    return math.exp(min(log_e, _MAX_LOG))


def z_score(estimate: Estimate) -> Floats:
    """Return the estimate in standard errors, for a fixed-sample test that is valid at one planned look only."""
    return np.where(estimate.information > 0, estimate.value, 0.0) * np.sqrt(estimate.information)


def half_and_end(estimate: Estimate, effect: float, *, at_end: bool, alpha: float = ALPHA) -> NDArray[np.int_]:
    """Return 1 if the value is above 0, -1 if below, 0 if undecided.

    Half of ``alpha`` is spent on the sequence at every look, and half on one fixed test at the planned end; the union
    bound limits the total. Most of the power of a fixed test remains, and the experiment can stop at any time.
    """
    excluded = np.abs(estimate.value) > two_sided_radius(estimate.information, effect, alpha / 2)
    if at_end:
        excluded = excluded | (np.abs(z_score(estimate)) > normal_quantile(1 - alpha / 4))
    return np.where(excluded, np.sign(estimate.value), 0).astype(int)


@lru_cache(64)
def normal_quantile(probability: float) -> float:
    """Return the quantile of the standard normal distribution."""
    return NormalDist().inv_cdf(probability)


def _positive(information: ArrayLike) -> Floats:
    info = np.asarray(information, float)
    return np.where(info > 0, info, 1.0)
