"""Tests of the user prior: implicit feedback is found where there is some, and left out where there is none."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array

from marquee.models.user_prior import fit_user_prior

N_USERS, N_ITEMS, K = 200, 40, 3


def rate_at_random(rng: np.random.Generator) -> csr_array:
    return csr_array((rng.random((N_USERS, N_ITEMS)) < 0.3).astype(float))


def test_fit_user_prior_planted_implicit_feedback_is_found() -> None:
    """Users whose vectors are a sum over their items: the prior knows their direction before any rating."""
    rng = np.random.default_rng(1)
    rated, planted = rate_at_random(rng), rng.normal(0, 1, (N_ITEMS, K + 1))
    theta = (rated @ planted) / np.sqrt(np.diff(rated.indptr))[:, None] + rng.normal(0, 0.1, (N_USERS, K + 1))
    prior = fit_user_prior(theta[:, :K], theta[:, K], rated, rng.normal(0, 0.5, 1000))
    assert prior.implicit is not None
    correlation = np.corrcoef((prior.implicit - prior.implicit.mean(0)).ravel(), (planted - planted.mean(0)).ravel())
    assert correlation[0, 1] > 0.9
    explained = np.trace(np.linalg.inv(prior.precision)) / np.trace(np.cov(theta.T))
    assert explained < 0.5, "the prior is narrower than the users' factors are"


def test_fit_user_prior_random_choices_leave_implicit_feedback_out() -> None:
    """Users who rate at random: the regression fits its own users and no others."""
    rng = np.random.default_rng(2)
    theta = rng.normal(0, 1, (N_USERS, K + 1))
    prior = fit_user_prior(theta[:, :K], theta[:, K], rate_at_random(rng), rng.normal(0, 0.5, 1000))
    assert prior.implicit is None
    np.testing.assert_allclose(np.linalg.inv(prior.precision), np.cov(theta.T), atol=0.05)


def test_fit_user_prior_single_user_has_a_prior() -> None:
    """One user cannot be predicted from others; the prior is still a proper Gaussian."""
    prior = fit_user_prior(np.ones((1, K)), np.zeros(1), csr_array(np.ones((1, N_ITEMS))), np.array([0.5]))
    assert prior.implicit is None
    assert np.linalg.eigvalsh(prior.precision).min() > 0
