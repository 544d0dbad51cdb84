"""Two candidates asked of the same users: the verdicts, where the answer is known by construction."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from tests.support.synthetic_data import SECOND, blocks, dataset, frame

from marquee.data.dataset import Dataset
from marquee.data.splits import Split, split_at_time, temporal_holdout
from marquee.evaluation.baselines import Candidate
from marquee.evaluation.offline import EvaluationParams
from marquee.evaluation.paired_test import (
    GateParams,
    PairedComparison,
    Significance,
    compare_ndcg,
    compare_rmse,
)

EVALUATION, SEED = EvaluationParams(resamples=400, interval=0.95), 7
Ints = np.ndarray


def settled(min_users: int = 20) -> tuple[GateParams, EvaluationParams, int]:
    return GateParams(min_users, margin=0.001), EVALUATION, SEED


def off_by(data: Dataset, error: Callable[[Ints], np.ndarray], name: str = "other") -> Candidate:
    """Knows every rating, and adds ``error(users)`` to it."""
    truth = np.full((data.n_users, data.n_items), np.nan)
    truth[data.ratings.users, data.ratings.items] = data.ratings.values
    return Candidate(name, lambda users, items: truth[users, items] + error(users))


@pytest.fixture(scope="module")
def world() -> Dataset:
    return dataset(blocks())


@pytest.fixture(scope="module")
def split(world: Dataset) -> Split:
    return temporal_holdout(world, 0.3)


def test_the_difference_is_exact_where_errors_are_constant(world: Dataset, split: Split) -> None:
    """Wrong by 1 everywhere against wrong by 1.5 everywhere: the difference is -.5, and so is its interval."""
    ours, theirs = (off_by(world, lambda u, e=e: np.full(len(u), e)) for e in (1.0, 1.5))
    found = compare_rmse(ours, theirs, split, *settled())
    assert found.verdict is Significance.BETTER
    assert (found.ours, found.theirs, found.users) == (1.0, 1.5, len(np.unique(split.test.users)))
    assert np.allclose([found.difference, found.low, found.high], -0.5)
    assert compare_rmse(theirs, ours, split, *settled()).verdict is Significance.WORSE


def test_equal_candidates_are_no_different(world: Dataset, split: Split) -> None:
    """A candidate against itself: the difference is 0 with an interval of no width, which is no loss."""
    one = off_by(world, lambda users: users / 50)
    found = compare_rmse(one, one, split, *settled())
    assert (found.difference, found.low, found.high, found.verdict) == (0.0, 0.0, 0.0, Significance.EQUAL)


def test_what_nobody_would_notice_is_no_difference(world: Dataset, split: Split) -> None:
    """Worse by .0005 for every single user: certain, and of no matter. By .002 it is worse."""
    theirs = off_by(world, lambda users: np.full(len(users), 1.0))
    for more, verdict in ((0.0005, Significance.EQUAL), (0.002, Significance.WORSE)):
        ours = off_by(world, lambda users, more=more: np.full(len(users), 1.0 + more))  # type: ignore[misc]
        assert compare_rmse(ours, theirs, split, *settled()).verdict is verdict


def test_users_differ_more_than_candidates(world: Dataset, split: Split) -> None:
    """Errors run from 0 to 2 with the user; one candidate is .02 better for each. The pairs tell them apart,
    though the users' spread is a hundred times that."""
    theirs = off_by(world, lambda users: users / 50 + 0.02)
    ours = off_by(world, lambda users: users / 50)
    found = compare_rmse(ours, theirs, split, *settled())
    assert found.verdict is Significance.BETTER
    assert -0.03 < found.low < found.high < -0.01


def test_one_loud_user_is_no_verdict(world: Dataset, split: Split) -> None:
    """Worse on the whole because of a single user, and equal for all others: that is chance, not worse."""
    loud = int(split.test.users[0])
    theirs = off_by(world, lambda users: np.full(len(users), 1.0))
    ours = off_by(world, lambda users: np.where(users == loud, 2.0, 1.0))
    found = compare_rmse(ours, theirs, split, *settled())
    assert found.difference > 0
    assert found.verdict is Significance.EQUAL


def test_too_few_users_are_no_verdict(world: Dataset, split: Split) -> None:
    """Below the least number of users even a great difference is no verdict, and the text says so."""
    good, bad = (off_by(world, lambda u, e=e: np.full(len(u), e)) for e in (0.0, 3.0))
    found = compare_rmse(bad, good, split, *settled(min_users=1000))
    assert found.verdict is Significance.TOO_FEW
    assert "users are too few to tell" in str(found)
    assert compare_rmse(bad, good, split_at_time(world, 10**15), *settled()).verdict is Significance.TOO_FEW


def test_what_is_no_number_is_worse(world: Dataset, split: Split) -> None:
    """A candidate that predicts NaN is worse than any other, however few the users."""
    broken = off_by(world, lambda users: np.full(len(users), np.nan))
    good = off_by(world, lambda users: np.full(len(users), 1.0))
    for least in (1, 1000):
        assert compare_rmse(broken, good, split, *settled(least)).verdict is Significance.WORSE


def test_rankings(world: Dataset, split: Split) -> None:
    """Knowing what each user likes against its reverse: 1 against next to nothing, where more is better."""
    likes = np.zeros((world.n_users, world.n_items))
    likes[world.ratings.users, world.ratings.items] = world.ratings.values
    knows = Candidate("knows", score=lambda users: likes[users])
    reverse = Candidate("reverse", score=lambda users: -likes[users])
    found: PairedComparison = compare_ndcg(knows, reverse, split, *settled())
    assert (found.ours, found.verdict) == (1.0, Significance.BETTER)
    assert compare_ndcg(reverse, knows, split, *settled()).verdict is Significance.WORSE


def test_the_cut_at_a_moment() -> None:
    """``after`` asks about what is later than the moment, and nothing in its training part is."""
    data = dataset(frame(*[("u", f"f{n}", 3.0 + n % 2, n * SECOND) for n in range(6)]))
    split = split_at_time(data, 3 * SECOND)
    assert split.test.times.tolist() == [4 * SECOND, 5 * SECOND]
    assert split.train.ratings.times.tolist() == [n * SECOND for n in range(4)]
