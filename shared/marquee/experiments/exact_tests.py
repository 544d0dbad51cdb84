"""Always-valid exact tests of counts (sample ratio, failed requests), and selection by e-values."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from marquee.experiments.ratio_estimates import Floats
from marquee.experiments.sequences import ALPHA, log_mean_exp

SAMPLE_RATIO_LIMIT = 1000.0
"""E-value from which the split contradicts the weights; at most one valid experiment in 1,000 ever reaches it."""
_CONCENTRATION = 1000.0
_BIASES = np.arange(0.55, 0.96, 0.05)
_lgamma = np.frompyfunc(math.lgamma, 1, 1)


def log_e_sample_ratio(counts: ArrayLike, weights: ArrayLike) -> Floats:
    """Return the log e-value [...] against the hypothesis that ``counts`` [..., arms] follow ``weights`` [arms].

    It is the Dirichlet-multinomial mixture of Lindon and Malek, *Anytime-Valid Inference for Multinomial Count Data*,
    NeurIPS 2022.
    """
    n, w = np.asarray(counts, float), np.asarray(weights, float)
    prior = _CONCENTRATION * w
    ratio = _log_beta(prior + n) - _log_beta(prior)
    return np.asarray(ratio - (n * np.log(w)).sum(-1))


def log_e_coin(heads: ArrayLike, tails: ArrayLike) -> Floats:
    """Return the log e-value against the hypothesis that heads are at most as likely as tails, for `answered`.

    A user counts once, at their first failed request, so that with equal arms each user is one toss of a fair coin.
    The e-value is the mean over p = 0.55 ... 0.95 of ``(2p)^heads (2 - 2p)^tails``.
    """
    h, t = np.asarray(heads, float), np.asarray(tails, float)
    return log_mean_exp([h * math.log(2 * p) + t * math.log(2 - 2 * p) for p in _BIASES.tolist()])


def select_by_e_values(log_e: Mapping[str, float], alpha: float = ALPHA) -> list[str]:
    """Return the names selected by e-BH, with a false discovery rate of at most ``alpha`` under any dependence.

    All e-values must be of the same time: Wang and Ramdas, *False Discovery Rate Control with E-values*, JRSS B 84,
    2022.
    """
    ordered = sorted(log_e, key=lambda name: -log_e[name])
    selected = 0
    for k, name in enumerate(ordered, 1):
        if log_e[name] >= math.log(len(ordered) / (k * alpha)):
            selected = k
    return ordered[:selected]


def _log_beta(parameters: Floats) -> Floats:
    """Return the logarithm of the multivariate beta function over the last axis."""
    total = np.asarray(_lgamma(parameters.sum(-1)), float)
    return np.asarray(np.asarray(_lgamma(parameters), float).sum(-1) - total)
