"""Tests of whole experiments on simulated customers: few runs of what the benchmarks measure at length."""

from __future__ import annotations

from math import log, sqrt

import numpy as np
import pytest
from benchmarks.experiment_canary import CanaryOutcome, Fault, RunningSums, other_errors, run_canary
from benchmarks.experiment_streams import METRICS, simulate_streams
from tests.experiments.populations import make_pool

from marquee.experiments.ratio_estimates import Floats, adjusted_difference, difference, sum_users
from marquee.experiments.sequences import half_and_end, log_e_harm, two_sided_radius, z_score

POOL = make_pool()
RUNS = 200
ALLOWED = 0.05 + 2 * sqrt(0.05 * 0.95 / RUNS)


@pytest.fixture(scope="module")
def equal_arms() -> dict[str, Floats]:
    return simulate_streams(POOL, 5, runs=RUNS, users=300, adjusted=True)


@pytest.mark.parametrize("metric", METRICS)
def test_equal_arms_looked_at_hourly_raise_few_false_alarms(equal_arms: dict[str, Floats], metric: str) -> None:
    """No procedure exceeds alpha over 336 looks; the z-test beside it does, so that this test can fail."""
    sums = equal_arms[metric]
    for estimator in (difference, adjusted_difference) if sums.shape[-1] == 15 else (difference,):
        looks = estimator(sums[:, 0], sums[:, 1])
        end = type(looks)(looks.value[:, -1], looks.variance[:, -1])
        effect = 2.8 * float(np.sqrt(end.variance.mean()))
        sequence = (np.abs(looks.value) > two_sided_radius(looks.information, effect)).any(1)
        harmed = (log_e_harm(looks, effect) >= log(20)).any(1)
        both = (half_and_end(looks, effect, at_end=False) != 0).any(1) | (half_and_end(end, effect, at_end=True) != 0)
        assert max(sequence.mean(), harmed.mean(), both.mean()) <= ALLOWED
        assert (np.abs(z_score(looks)) > 1.96).any(1).mean() > 0.15


def test_adjusted_difference_of_streams_has_less_variance(equal_arms: dict[str, Floats]) -> None:
    """Two weeks of the past explain a third of the variance and more, at the last look."""
    sums = equal_arms["begun"][:, :, -1]
    plain, adjusted = (estimate(sums[:, 0], sums[:, 1]) for estimate in (difference, adjusted_difference))
    assert adjusted.variance.mean() <= 0.7 * plain.variance.mean()
    assert adjusted.value.var() <= 0.75 * plain.value.var()
    assert abs(adjusted.value.mean()) <= 2 * adjusted.value.std() / sqrt(RUNS)


def test_simulate_streams_sums_of_squares_are_those_of_users(equal_arms: dict[str, Floats]) -> None:
    """Variances from the sums agree with the spread over runs."""
    looks = difference(equal_arms["minutes"][:, 0], equal_arms["minutes"][:, 1])
    assert looks.variance[:, -1].mean() / looks.value[:, -1].var() == pytest.approx(1, abs=0.3)


def test_running_sums_follow_users_as_one_group_by_would() -> None:
    """Users who come again change the squares of their totals."""
    rng, running = np.random.default_rng(1), RunningSums(20)
    user, y = rng.integers(0, 20, 300), rng.normal(size=300)
    for part in np.array_split(np.arange(300), 7):
        running.add(user[part], y[part], np.ones(len(part)))
    running.add(user[:0], y[:0], y[:0])
    assert running.sums == pytest.approx(sum_users(np.bincount(user, y, 20), np.bincount(user, minlength=20)))


def run_canaries(fault: Fault, runs: int) -> list[CanaryOutcome]:
    outcomes = [run_canary(POOL, fault, seed, customers=30_000) for seed in range(runs)]
    assert all(one.within_margin for one in outcomes)
    return outcomes


def test_run_canary_worse_ratings_are_rolled_back_before_a_step() -> None:
    """All ten runs of a 5 % worse RMSE, in half an hour, with the first share only."""
    for one in run_canaries(Fault(rmse=1.05), 10):
        assert one.action == "back"
        assert one.minutes <= 30
        assert one.exposed <= 0.01


def test_run_canary_failing_answers_are_rolled_back_within_the_hour() -> None:
    """A fifth of the answers fails; the coin of first failures tells."""
    assert all(one.action == "back" and one.minutes <= 60 for one in run_canaries(Fault(failing=0.2), 10))


def test_run_canary_worse_lists_are_rolled_back_before_half_of_the_users_see_them() -> None:
    """30 % fewer movies begun, which lists alone tell."""
    outcomes = run_canaries(Fault(begun=0.7), 6)
    assert all(one.action == "back" for one in outcomes)
    assert np.median([one.minutes for one in outcomes]) <= 7 * 60


def test_run_canary_equal_model_is_promoted_within_hours() -> None:
    """None of ten goes back, and none waits for its planned end."""
    for one in run_canaries(Fault(), 10):
        assert one.action == "promote"
        assert one.minutes < 12 * 60


@pytest.mark.parametrize("rmse", [1.0, 1.02, 1.2])
def test_other_errors_have_the_stated_rmse(rmse: float) -> None:
    """The simulated model is as much worse as it says."""
    rng = np.random.default_rng(2)
    errors = POOL.draw_errors(rng, rng.integers(0, 400, 400_000))
    other = other_errors(rng, errors, rmse)
    assert sqrt((other**2).mean() / (errors**2).mean()) == pytest.approx(rmse, abs=0.003)
    assert not np.array_equal(other, errors)
