"""The Gaussian of the trained users, from which a user is folded in."""

from __future__ import annotations

import numpy as np

from marquee.models.trainer_port import Floats, UserPrior

# A share of the average variance is added to each: few users or idle factors still give a proper Gaussian.
_SHRINKAGE = 0.01


def fit_user_prior(user_vectors: Floats, user_biases: Floats, residuals: Floats) -> UserPrior:
    """The mean and precision of the rows ``[vector, bias]``; noise from the ``residuals`` of the ratings.

    Empirical Bayes: what was learnt of all users is what is expected of the next one.
    """
    theta = np.column_stack([user_vectors, user_biases])
    centred = theta - theta.mean(0)
    covariance = centred.T @ centred / max(len(theta), 1)
    width = len(covariance)
    spread = max(float(np.trace(covariance)) / width, 1e-6)
    precision = np.linalg.inv(covariance + _SHRINKAGE * spread * np.eye(width))
    noise = max(float(np.mean(residuals**2)), 1e-6)
    return UserPrior(theta.mean(0), (precision + precision.T) / 2, 1 / noise)
