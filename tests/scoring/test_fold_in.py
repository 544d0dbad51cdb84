"""Tests of fold-in: the posterior mean in closed form, and its limits."""

from __future__ import annotations

import numpy as np
import pytest

from marquee.scoring.fold_in import FoldIn, Prior

K = 4


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def make_catalog(rng: np.random.Generator, n_items: int) -> tuple[np.ndarray, np.ndarray]:
    vectors = rng.normal(0, 1, (n_items, K)).astype(np.float32)
    return vectors, rng.normal(0, 0.3, n_items).astype(np.float32)


def make_prior(rng: np.random.Generator, noise_precision: float = 2.0) -> Prior:
    root = rng.normal(0, 1, (K + 1, K + 1))
    return Prior(rng.normal(0, 1, K + 1), root @ root.T + np.eye(K + 1), noise_precision)


def test_posterior_mean_without_ratings_is_the_prior_mean(rng: np.random.Generator) -> None:
    """There is nothing to update."""
    vectors, biases = make_catalog(rng, 5)
    prior = make_prior(rng)
    vector, bias = FoldIn(vectors, biases, 3.5, prior).posterior_mean(np.array([], dtype=int), np.array([]))
    assert [*vector, bias] == pytest.approx(prior.mean, rel=1e-5)


def test_posterior_mean_one_rating_equals_hand_calculation() -> None:
    """q=2, no biases, prior N(0, I), noise 1, rating one above the mean.

    A = [[1+4, 2], [2, 1+1]], right = [2, 1]: A^-1 right = [2*2-2*1, 5*1-2*2] / 6 = [1/3, 1/6].
    """
    vector, bias = FoldIn(
        np.array([[2]], dtype=np.float32),
        np.zeros(1, dtype=np.float32),
        3.0,
        Prior(np.zeros(2), np.eye(2), 1.0),
    ).posterior_mean(np.array([0]), np.array([4.0]))
    assert [*vector, bias] == pytest.approx([1 / 3, 1 / 6])


def test_posterior_mean_equals_the_conditional_gaussian(rng: np.random.Generator) -> None:
    """The same posterior by another formula: cov(theta, y) cov(y)^-1 (y - E y)."""
    vectors, biases = make_catalog(rng, 30)
    prior = make_prior(rng)
    items = rng.permutation(30)[:12]
    ratings = rng.integers(1, 6, 12).astype(float)
    x = np.hstack([vectors[items].astype(float), np.ones((12, 1))])
    cov = np.linalg.inv(prior.precision)
    cov_y = x @ cov @ x.T + np.eye(12) / prior.noise_precision
    expected = prior.mean + cov @ x.T @ np.linalg.solve(cov_y, ratings - 3.2 - biases[items] - x @ prior.mean)
    vector, bias = FoldIn(vectors, biases, 3.2, prior).posterior_mean(items, ratings)
    assert [*vector, bias] == pytest.approx(expected, rel=1e-4)


def test_posterior_mean_many_ratings_converges_to_the_true_user(rng: np.random.Generator) -> None:
    """Known theta, noisy ratings: the error falls toward zero with the number of ratings."""
    vectors, biases = make_catalog(rng, 20_000)
    truth, truth_bias = np.array([0.5, -1.0, 0.25, 0.8]), -0.4
    ratings = 3.5 + truth_bias + biases + vectors @ truth + rng.normal(0, 0.5, 20_000)
    prior = Prior(np.zeros(K + 1), np.eye(K + 1), 4.0)
    errors = []
    for n in (10, 300, 20_000):
        vector, bias = FoldIn(vectors, biases, 3.5, prior).posterior_mean(np.arange(n), ratings[:n])
        errors.append(float(np.linalg.norm([*(vector - truth), bias - truth_bias])))
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 0.02


def test_posterior_mean_narrow_prior_resists_one_rating(rng: np.random.Generator) -> None:
    """One rating does not move a user that the prior places near the mean."""
    vectors, biases = make_catalog(rng, 3)
    prior = Prior(np.full(K + 1, 0.1), np.eye(K + 1) * 1e8, 1.0)
    vector, bias = FoldIn(vectors, biases, 3.0, prior).posterior_mean(np.array([0]), np.array([5.0]))
    assert [*vector, bias] == pytest.approx([0.1] * (K + 1), abs=1e-5)


@pytest.mark.parametrize("k", [1, 32, 64, 100])
def test_posterior_mean_float32_equals_float64(rng: np.random.Generator, k: int) -> None:
    """Against the normal equations in double precision, at the sizes that are served and a narrow prior."""
    vectors = rng.normal(0, 0.3, (500, k)).astype(np.float32)
    biases = rng.normal(0, 0.3, 500).astype(np.float32)
    root = rng.normal(0, 3, (k + 1, 2 * k + 2))
    prior = Prior(rng.normal(0, 0.2, k + 1), root @ root.T, 1.4)
    items = rng.permutation(500)[:100]
    ratings = rng.integers(1, 6, 100).astype(np.float32)
    x = np.hstack([vectors[items].astype(float), np.ones((100, 1))])
    left = prior.precision + 1.4 * x.T @ x
    right = prior.precision @ prior.mean + 1.4 * (ratings - 3.5 - biases[items]) @ x
    vector, bias = FoldIn(vectors, biases, 3.5, prior).posterior_mean(items, ratings)
    np.testing.assert_allclose([*vector, bias], np.linalg.solve(left, right), atol=2e-5)
