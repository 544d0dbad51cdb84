"""Tests of drift and implicit feedback in fold-in, against the Gaussian that they state."""

from __future__ import annotations

import numpy as np
import pytest

from marquee.errors import ArtifactRefused
from marquee.scoring.fold_in import FoldIn, Prior
from marquee.scoring.level_drift import WINDOW, Drift

K, MEAN = 3, 3.5


def predict_directly(
    prior: Prior, vectors: np.ndarray, biases: np.ndarray, items: np.ndarray, ratings: np.ndarray
) -> np.ndarray:
    """Return E[rating of each item | ratings] by conditioning the joint Gaussian in double precision.

    The drift of two ratings is correlated if they are in the same window, counted back from the newest.
    """
    n, x_all = len(items), np.hstack([vectors, np.ones((len(vectors), 1))])
    assert prior.implicit is not None
    mean = prior.mean + prior.implicit[items].sum(0) / np.sqrt(n)
    covariance, x = np.linalg.inv(prior.precision), x_all[items]
    position = np.arange(n)
    window = (n - 1 - position) // WINDOW
    drift = prior.drift.variance * prior.drift.correlation ** np.abs(position[:, None] - position)
    drift *= window[:, None] == window
    ahead = np.where(window == 0, prior.drift.variance * prior.drift.correlation ** (n - position), 0.0)
    noise = 1 / prior.noise_precision
    joint = x @ covariance @ x.T + noise * (drift + np.eye(n))
    cross = x_all @ covariance @ x.T + noise * ahead
    surprise = ratings - MEAN - biases[items] - x @ mean
    return np.asarray(MEAN + biases + x_all @ mean + cross @ np.linalg.solve(joint, surprise))


@pytest.mark.parametrize("n", [1, 2, WINDOW - 1, WINDOW, WINDOW + 1, 2 * WINDOW, 3 * WINDOW + 7])
def test_posterior_mean_with_drift_conditions_the_joint_gaussian(n: int) -> None:
    """For any number of ratings: vector and bias predict what the stated Gaussian predicts."""
    rng = np.random.default_rng(n)
    vectors, biases = rng.normal(0, 1, (150, K)).astype(np.float32), rng.normal(0, 0.3, 150).astype(np.float32)
    root = rng.normal(0, 1, (K + 1, K + 1))
    implicit = rng.normal(0, 0.1, (150, K + 1))
    prior = Prior(rng.normal(0, 0.5, K + 1), root @ root.T + np.eye(K + 1), 1.7, Drift(0.2, 0.9), implicit)
    items, ratings = rng.permutation(150)[:n], rng.integers(1, 6, n).astype(float)
    vector, bias = FoldIn(vectors, biases, MEAN, prior).posterior_mean(items, ratings)
    expected = predict_directly(prior, vectors, biases, items, ratings)
    np.testing.assert_allclose(MEAN + biases + vectors @ vector + bias, expected, atol=2e-4)


def test_drift_newest_ratings_count_most() -> None:
    """The same ratings in another order: a user who has become stricter is predicted lower than a milder one."""
    vectors, biases = np.zeros((20, K), np.float32), np.zeros(20, np.float32)
    fold_in = FoldIn(vectors, biases, MEAN, Prior(np.zeros(K + 1), np.eye(K + 1), 1.7, Drift(0.2, 0.9)))
    ratings = np.array([5.0] * 10 + [2.0] * 10)
    _, stricter = fold_in.posterior_mean(np.arange(20), ratings)
    _, milder = fold_in.posterior_mean(np.arange(20), ratings[::-1])
    assert stricter < milder - 0.5


@pytest.mark.parametrize("drift", [Drift(-0.1, 0.5), Drift(0.1, 1.0), Drift(float("nan"), 0.5), Drift(0.1, -0.2)])
def test_drift_not_stationary_is_refused(drift: Drift) -> None:
    """The message says what is valid."""
    with pytest.raises(ArtifactRefused, match="from 0 to below 1"):
        drift.check()
