"""Tests of ratio estimates: against the data themselves, and their variance against repetition."""

from __future__ import annotations

import numpy as np
import pytest

from marquee.experiments.ratio_estimates import (
    MIN_USERS,
    adjusted_difference,
    difference,
    estimate_difference,
    ratio,
    sum_users,
)

RUNS, USERS = 300, 400


def draw_users(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return y, x of an experiment and y0, x0 of the time before: heavy-tailed activity and a lasting taste."""
    activity, taste = rng.lognormal(0, 1, USERS), rng.beta(2, 5, USERS)
    x, x0 = 1 + rng.poisson(3 * activity), rng.poisson(4 * activity)
    return (
        rng.binomial(x, taste).astype(float),
        x.astype(float),
        rng.binomial(x0, taste).astype(float),
        x0.astype(float),
    )


def add_no_past(y: np.ndarray, x: np.ndarray) -> np.ndarray:
    return sum_users(y, x, np.zeros(USERS), np.zeros(USERS))


def covariates(y0: np.ndarray, x0: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return y0 - y0.sum() / x0.sum() * x0, x0


def test_ratio_equals_the_linearized_variance_of_the_data() -> None:
    """The variance of six sums equals that of the users themselves."""
    y, x = draw_users(np.random.default_rng(0))[:2]
    estimate = ratio(sum_users(y, x))
    assert float(estimate.value) == pytest.approx(y.sum() / x.sum())
    residuals = (y - float(estimate.value) * x) / x.mean()
    assert float(estimate.variance) == pytest.approx(residuals.var(ddof=1) / USERS)


def test_ratio_variance_is_that_of_repetitions_and_lists_alone_would_not_be() -> None:
    """Users differ, so that lists taken for independent would promise too much."""
    rng = np.random.default_rng(1)
    samples = [draw_users(rng)[:2] for _ in range(RUNS)]
    estimates = [ratio(sum_users(y, x)) for y, x in samples]
    spread = np.var([float(one.value) for one in estimates])
    stated = np.mean([float(one.variance) for one in estimates])
    assert stated / spread == pytest.approx(1, abs=0.25)
    binomial = np.mean([(y.sum() / x.sum()) * (1 - y.sum() / x.sum()) / x.sum() for y, x in samples])
    assert binomial < 0.75 * spread


def test_ratio_below_the_least_users_has_no_information() -> None:
    """49 users are too few for a normal approximation; more of them are needed, whatever they did."""
    y, x = np.arange(1.0, 50.0), np.full(49, 2.0)
    assert len(x) == MIN_USERS - 1
    assert float(ratio(sum_users(y, x)).information) == 0
    assert float(ratio(sum_users(np.append(y, 1), np.append(x, 1))).information) > 0
    assert float(ratio(np.zeros(6)).information) == 0
    # Users without x, such as those who never asked, do not count.
    assert float(ratio(sum_users(np.append(y, 0), np.append(x, 0))).information) == 0


def test_difference_elementwise_equals_single_calls() -> None:
    """A stack of looks gives what each look gives alone."""
    rng = np.random.default_rng(2)
    control, treatment = (np.stack([sum_users(*draw_users(rng)[:2]) for _ in range(3)]) for _ in range(2))
    stacked = difference(control, treatment)
    for k in range(3):
        single = difference(control[k], treatment[k])
        assert (stacked.value[k], stacked.variance[k]) == (single.value, single.variance)


def test_adjusted_difference_is_unbiased_with_less_variance() -> None:
    """Over 300 runs with an effect: within three standard errors of it, at most 0.7 of the variance (CUPED)."""
    rng, plain, adjusted = np.random.default_rng(6), [], []
    for _ in range(RUNS):
        arms = []
        for lift in (0.0, 0.05):
            y, x, y0, x0 = draw_users(rng)
            arms.append((y + lift * x, x, y0, x0))
        # The covariates are centered on the ratio of all users.
        c1, c2 = covariates(np.concatenate([arm[2] for arm in arms]), np.concatenate([arm[3] for arm in arms]))
        old, new = (
            sum_users(arm[0], arm[1], c1[part], c2[part])
            for arm, part in zip(arms, (slice(USERS), slice(USERS, None)), strict=True)
        )
        plain.append(difference(old, new))
        adjusted.append(adjusted_difference(old, new))
        assert estimate_difference(old, new) == adjusted[-1]
    values = np.array([float(one.value) for one in adjusted])
    assert abs(values.mean() - 0.05) <= 3 * values.std() / RUNS**0.5
    assert values.var() <= 0.7 * np.var([float(one.value) for one in plain])
    assert np.mean([float(one.variance) for one in adjusted]) / values.var() == pytest.approx(1, abs=0.25)


def test_adjusted_difference_without_a_past_is_the_plain_one() -> None:
    """On a new site all covariates are 0."""
    rng = np.random.default_rng(9)
    old, new = (add_no_past(*draw_users(rng)[:2]) for _ in range(2))
    plain, adjusted = difference(old, new), adjusted_difference(old, new)
    assert float(adjusted.value) == pytest.approx(float(plain.value))
    assert float(adjusted.variance) == pytest.approx(float(plain.variance))


def test_difference_increments_are_independent_of_the_past() -> None:
    """cov(D_s, D_t) / var(D_t) is 1 for s < t, with lasting tastes and busy users: information is the clock."""
    rng, days, runs = np.random.default_rng(10), (1, 4, 14), 1000
    values = np.empty((runs, len(days)))
    for run in range(runs):
        arms = []
        for _ in range(2):
            taste = rng.beta(2, 5, 200)
            activity = rng.lognormal(0, 1, 200) * (0.5 + taste)  # Busy users follow lists more.
            x = rng.poisson(3 * activity, (14, 200))
            arms.append((rng.binomial(x, taste).cumsum(0), x.cumsum(0)))
        for k, day in enumerate(days):
            old, new = (sum_users(y[day - 1], x[day - 1]) for y, x in arms)
            values[run, k] = float(difference(old, new).value)
    covariance = np.cov(values.T)
    for s in range(len(days)):
        for t in range(s + 1, len(days)):
            assert covariance[s, t] / covariance[t, t] == pytest.approx(1, abs=0.12)
