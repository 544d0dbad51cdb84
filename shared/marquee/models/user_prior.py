"""Gaussian prior of a user's factors, from which new users are folded in."""

from __future__ import annotations

import numpy as np

from marquee.models.trainer_port import Floats, UserPrior

# Fraction of the average variance added to each variance. Few users or unused factors still give a proper Gaussian.
_SHRINKAGE = 0.01


def fit_user_prior(user_vectors: Floats, user_biases: Floats, residuals: Floats) -> UserPrior:
    """Return the Gaussian of the rows ``[vector, bias]``, by empirical Bayes.

    The noise precision is the inverse mean square of ``residuals``, the errors of the fitted ratings [n].
    """
    theta = np.column_stack([user_vectors, user_biases])
    centred = theta - theta.mean(0)
    covariance = centred.T @ centred / max(len(theta), 1)
    width = len(covariance)
    mean_variance = max(float(np.trace(covariance)) / width, 1e-6)
    precision = np.linalg.inv(covariance + _SHRINKAGE * mean_variance * np.eye(width))
    noise = max(float(np.mean(residuals**2)), 1e-6)
    return UserPrior(theta.mean(0), (precision + precision.T) / 2, 1 / noise)
