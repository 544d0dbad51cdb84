"""Paired tests give the right verdict where the answer is known by construction."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from tests.support.synthetic_data import SECOND, blocks, dataset, frame

from marquee.data.dataset import Dataset
from marquee.data.splits import Split, split_at_time, temporal_holdout
from marquee.evaluation.baselines import Candidate
from marquee.evaluation.bootstrap import EvaluationParams
from marquee.evaluation.paired_test import (
    PairedComparison,
    PairedTestParams,
    Significance,
    compare_ndcg,
    compare_rmse,
)

EVALUATION, SEED = EvaluationParams(resamples=400, interval=0.95), 7
Ints = np.ndarray


def options(min_users: int = 20) -> tuple[PairedTestParams, EvaluationParams, int]:
    return PairedTestParams(min_users, margin=0.001, serving_margin=0.01), EVALUATION, SEED


def with_error(data: Dataset, error: Callable[[Ints], np.ndarray]) -> Candidate:
    """Return a candidate that adds ``error(users)`` to each true rating."""
    truth = np.full((data.n_users, data.n_items), np.nan)
    truth[data.ratings.users, data.ratings.items] = data.ratings.values
    return Candidate("other", lambda users, items: truth[users, items] + error(users))


def with_constant_error(data: Dataset, error: float) -> Candidate:
    return with_error(data, lambda users: np.full(len(users), error))


@pytest.fixture(scope="module")
def data() -> Dataset:
    return dataset(blocks())


@pytest.fixture(scope="module")
def split(data: Dataset) -> Split:
    return temporal_holdout(data, 0.3)


def test_compare_rmse_constant_errors_have_exact_difference(data: Dataset, split: Split) -> None:
    """Errors of 1 against errors of 1.5: the difference is -0.5, and so are the ends of its interval."""
    better, worse = with_constant_error(data, 1.0), with_constant_error(data, 1.5)
    result = compare_rmse(better, worse, split, *options())
    assert result.verdict is Significance.BETTER
    values = (result.candidate_value, result.baseline_value, result.users)
    assert values == (1.0, 1.5, len(np.unique(split.test.users)))
    assert np.allclose([result.difference, result.low, result.high], -0.5)
    assert compare_rmse(worse, better, split, *options()).verdict is Significance.WORSE


def test_compare_rmse_equal_candidates_are_no_different(data: Dataset, split: Split) -> None:
    """A candidate against itself has the difference 0 and an interval of width 0."""
    candidate = with_error(data, lambda users: users / 50)
    result = compare_rmse(candidate, candidate, split, *options())
    values = (result.difference, result.low, result.high, result.verdict)
    assert values == (0.0, 0.0, 0.0, Significance.EQUAL)


@pytest.mark.parametrize(("excess", "verdict"), [(0.0005, Significance.EQUAL), (0.002, Significance.WORSE)])
def test_compare_rmse_difference_within_margin_is_no_difference(
    data: Dataset, split: Split, excess: float, verdict: Significance
) -> None:
    """A certain difference below the margin of 0.001 does not count; one above it does."""
    baseline, candidate = with_constant_error(data, 1.0), with_constant_error(data, 1.0 + excess)
    assert compare_rmse(candidate, baseline, split, *options()).verdict is verdict


def test_compare_rmse_serving_margin_ignores_another_draw(data: Dataset, split: Split) -> None:
    """Against the serving model a certain difference of 0.008 is noise of the sampler, and one of 0.02 is not."""
    test, evaluation, seed = options()
    baseline = with_constant_error(data, 1.0)
    draw, worse = with_constant_error(data, 1.008), with_constant_error(data, 1.02)
    against_serving = test.against_serving("rmse")
    assert compare_rmse(draw, baseline, split, test, evaluation, seed).verdict is Significance.WORSE
    assert compare_rmse(draw, baseline, split, against_serving, evaluation, seed).verdict is Significance.EQUAL
    assert compare_rmse(worse, baseline, split, against_serving, evaluation, seed).verdict is Significance.WORSE
    assert test.against_serving("ndcg@10") == test


def test_compare_rmse_pairing_resolves_small_differences(data: Dataset, split: Split) -> None:
    """Errors range from 0 to 2 over users; a difference of 0.02 for each user, a hundredth of that, is found."""
    baseline = with_error(data, lambda users: users / 50 + 0.02)
    candidate = with_error(data, lambda users: users / 50)
    result = compare_rmse(candidate, baseline, split, *options())
    assert result.verdict is Significance.BETTER
    assert -0.03 < result.low < result.high < -0.01


def test_compare_rmse_single_worse_user_is_no_difference(data: Dataset, split: Split) -> None:
    """A higher RMSE because of one user, with all others equal, is chance."""
    outlier = int(split.test.users[0])
    baseline = with_constant_error(data, 1.0)
    candidate = with_error(data, lambda users: np.where(users == outlier, 2.0, 1.0))
    result = compare_rmse(candidate, baseline, split, *options())
    assert result.difference > 0
    assert result.verdict is Significance.EQUAL


def test_compare_rmse_too_few_users_give_no_verdict(data: Dataset, split: Split) -> None:
    """With fewer than ``min_users`` even a large difference has no verdict, and the text says so."""
    good, bad = with_constant_error(data, 0.0), with_constant_error(data, 3.0)
    result = compare_rmse(bad, good, split, *options(min_users=1000))
    assert result.verdict is Significance.TOO_FEW
    assert "users are too few to tell" in str(result)
    assert compare_rmse(bad, good, split_at_time(data, 10**15), *options()).verdict is Significance.TOO_FEW


@pytest.mark.parametrize("min_users", [1, 1000])
def test_compare_rmse_nan_is_worse(data: Dataset, split: Split, min_users: int) -> None:
    """A candidate that predicts NaN is worse than any other, however few the users."""
    broken, good = with_constant_error(data, np.nan), with_constant_error(data, 1.0)
    assert compare_rmse(broken, good, split, *options(min_users)).verdict is Significance.WORSE


def test_compare_ndcg_perfect_ranking_beats_reverse(data: Dataset, split: Split) -> None:
    """Ranking by the true ratings has NDCG 1 and is better than the reverse: a higher value is better."""
    likes = np.zeros((data.n_users, data.n_items))
    likes[data.ratings.users, data.ratings.items] = data.ratings.values
    perfect = Candidate("perfect", score=lambda users: likes[users])
    reverse = Candidate("reverse", score=lambda users: -likes[users])
    result: PairedComparison = compare_ndcg(perfect, reverse, split, *options())
    assert (result.candidate_value, result.verdict) == (1.0, Significance.BETTER)
    assert compare_ndcg(reverse, perfect, split, *options()).verdict is Significance.WORSE


def test_split_at_time_separates_later_ratings() -> None:
    """The test holds the ratings after the time, the training part all others."""
    data = dataset(frame(*[("u", f"f{n}", 3.0 + n % 2, n * SECOND) for n in range(6)]))
    split = split_at_time(data, 3 * SECOND)
    assert split.test.times.tolist() == [4 * SECOND, 5 * SECOND]
    assert split.train.ratings.times.tolist() == [n * SECOND for n in range(4)]
