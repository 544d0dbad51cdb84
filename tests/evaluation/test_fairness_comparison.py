"""Groups of users and movies, gaps between groups, and their paired comparison; parity with fairlearn."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np
import pytest
from fairlearn.metrics import MetricFrame
from numpy.typing import ArrayLike
from tests.evaluation.test_offline import PARAMS
from tests.support.synthetic_data import blocks, dataset

from marquee.data import splits
from marquee.evaluation import group_fairness, movie_groups, user_groups
from marquee.evaluation.baselines import Candidate, bias_baseline, model_candidate
from marquee.evaluation.bootstrap import EvaluationParams
from marquee.evaluation.fairness_comparison import compare_fairness
from marquee.evaluation.group_fairness import FairnessParams
from marquee.evaluation.offline import UserMeasures, measure_users, predict
from marquee.evaluation.paired_test import PairedComparison, PairedTestParams, Significance
from marquee.training.train_model import train_model

QUICK = EvaluationParams(resamples=200, interval=0.95)
TEST = PairedTestParams(min_users=20, margin=0.001, serving_margin=0.01)
N = 200
GENDERS = ["F" if user % 4 == 0 else "M" for user in range(N)]


def make_measures(errors: ArrayLike, ndcg: ArrayLike, lists: np.ndarray) -> UserMeasures:
    """Return the results of N users with ten ratings each, whose RMSE is ``errors``; all have a list."""
    squared = 10 * np.asarray(errors) ** 2
    return UserMeasures(np.arange(N), squared, np.full(N, 10.0), np.arange(N), np.asarray(ndcg), lists)


@pytest.fixture
def serving() -> UserMeasures:
    """Return results that are alike for both groups, with lists all over the catalog."""
    rng = np.random.default_rng(0)
    lists = np.array([rng.permutation(100)[:20] for _ in range(N)])
    return make_measures(1 + 0.1 * rng.random(N), 0.3 + 0.1 * rng.random(N), lists)


def compare(candidate: UserMeasures, serving: UserMeasures, **labels: list[str]) -> dict[str, PairedComparison]:
    """Return the comparisons by metric."""
    found = compare_fairness((candidate, serving), labels or {"gender": GENDERS}, 100, "serving", TEST, QUICK, 3)
    return {c.metric: c for c in found}


def test_compare_fairness_same_model_is_no_different(serving: UserMeasures) -> None:
    """Every difference of a model from itself is exactly 0."""
    found = compare(serving, serving)
    assert {name: (c.difference, c.low, c.high) for name, c in found.items()} == {
        "rmse_gap.gender": (0, 0, 0),
        "ndcg_gap.gender": (0, 0, 0),
        "exposure_gini": (0, 0, 0),
    }
    assert {c.verdict for c in found.values()} == {Significance.EQUAL}


def test_compare_fairness_worse_for_women_is_worse(serving: UserMeasures) -> None:
    """Errors and lists that are worse for women and better for men have worse gaps, though the mean is no worse."""
    women = np.array(GENDERS) == "F"
    squared = serving.squared * np.where(women, 1.5, 0.8)
    ndcg = serving.ndcg * np.where(women, 0.6, 1.1)
    found = compare(replace(serving, squared=squared, ndcg=ndcg), serving)
    assert squared.sum() < serving.squared.sum()
    assert found["rmse_gap.gender"].verdict is Significance.WORSE
    assert found["ndcg_gap.gender"].verdict is Significance.WORSE
    assert found["exposure_gini"].verdict is Significance.EQUAL
    assert "rmse_gap.gender" in str(found["rmse_gap.gender"])
    back = compare(serving, replace(serving, squared=squared, ndcg=ndcg))
    assert back["rmse_gap.gender"].verdict is Significance.BETTER


def test_compare_fairness_one_list_for_all_is_worse(serving: UserMeasures) -> None:
    """Lists of ten movies only, the same for all users, have a worse Gini coefficient."""
    narrow = replace(serving, lists=np.tile(np.arange(20), (N, 1)))
    found = compare(narrow, serving)
    assert found["exposure_gini"].verdict is Significance.WORSE
    assert found["rmse_gap.gender"].verdict is Significance.EQUAL


def test_compare_fairness_gap_matches_hand_calculation(serving: UserMeasures) -> None:
    """A gap is the largest minus the smallest RMSE of the groups with enough users."""
    labels = ["tiny" if user < 19 else "old" if user % 2 else "young" for user in range(N)]
    found = compare(serving, serving, age=labels)["rmse_gap.age"]
    rmse = {
        group: (serving.squared[rows].sum() / serving.counts[rows].sum()) ** 0.5
        for group, rows in user_groups.split_members(labels)
    }
    assert found.candidate_value == pytest.approx(abs(rmse["old"] - rmse["young"]))
    assert found.users == N - 19


def test_compare_fairness_one_large_group_is_too_few(serving: UserMeasures) -> None:
    """With one group of enough users, or with unknown users beside it, there is no gap and no verdict."""
    for labels in (["F"] * N, ["F" if user % 2 else "unknown" for user in range(N)]):
        found = compare(serving, serving, gender=labels)
        assert found["rmse_gap.gender"].verdict is Significance.TOO_FEW
        assert found["ndcg_gap.gender"].verdict is Significance.TOO_FEW


def test_compare_fairness_intervals_are_joint(serving: UserMeasures) -> None:
    """More comparisons have wider intervals, so that all hold at once."""
    rng = np.random.default_rng(1)
    other = replace(serving, squared=serving.squared * rng.uniform(0.7, 1.4, N))
    alone = compare(other, serving)["rmse_gap.gender"]
    labels = {f"kind{n}": [str(group) for group in rng.integers(0, 3, N)] for n in range(8)}
    together = compare(other, serving, gender=GENDERS, **labels)["rmse_gap.gender"]
    assert together.difference == alone.difference
    assert together.high - together.low > alone.high - alone.low


def test_evaluate_groups_equals_fairlearn() -> None:
    """RMSE by group and its gap are those of fairlearn's MetricFrame on the same predictions."""
    split = splits.temporal_holdout(dataset(blocks()), 0.3)
    users = {user: {"gender": "F" if n % 3 else "M", "age": str(15 + n)} for n, user in enumerate(split.train.user_ids)}
    params = msgspec.structs.replace(PARAMS, trainer="surprise_svd")
    model = train_model(split.train, params)
    found = group_fairness.evaluate_groups(model, split, users, FairnessParams(min_users=1), QUICK, 1, "digest")
    test = split.test
    predicted = predict(model_candidate(model), test)
    labels = group_fairness.label_test_users(split, np.arange(split.train.n_users), users)
    for kind, groups in found.groups.items():
        frame = MetricFrame(
            metrics=lambda true, guess: float(np.mean((true - guess) ** 2)) ** 0.5,
            y_true=test.values,
            y_pred=predicted,
            sensitive_features=np.array(labels[kind])[test.users],
        )
        assert {name: group.rmse.value for name, group in groups.items()} == pytest.approx(frame.by_group.to_dict())
        assert found.gap[kind] == pytest.approx(frame.difference(method="between_groups"))


def test_measure_users_ndcg_by_group_equals_fairlearn() -> None:
    """NDCG by group is the mean that MetricFrame takes over the users of the group."""
    split = splits.temporal_holdout(dataset(blocks()), 0.3)
    rating = bias_baseline(split.train)
    candidate = Candidate("biases", rating.rate, lambda users: np.tile(np.arange(split.train.n_items), (len(users), 1)))
    measures = measure_users(candidate, split)
    labels = np.array(["F" if user % 3 else "M" for user in measures.users])[measures.ranked]
    frame = MetricFrame(
        metrics=lambda true, _: float(np.mean(true)),
        y_true=measures.ndcg,
        y_pred=measures.ndcg,
        sensitive_features=labels,
    )
    for group, rows in user_groups.split_members(labels.tolist()):
        assert measures.ndcg[rows].mean() == pytest.approx(frame.by_group[group])


def test_group_by_popularity_shares_hold_the_stated_ratings() -> None:
    """Ten ratings of the first movie are the head, the last movies the tail, and movies without ratings apart."""
    groups = movie_groups.group_by_popularity(np.array([0, 10, 5, 25, 5, 5, 0]))
    by_name = dict(zip(groups.names, groups.parts.argmax(0) == np.arange(4)[:, None], strict=True))
    assert by_name["head"].tolist() == [False, False, False, True, False, False, False]
    assert by_name["middle"].tolist() == [False, True, True, False, False, False, False]
    assert by_name["tail"].tolist() == [False, False, False, False, True, True, False]
    assert by_name["no rating before"].tolist() == [True, False, False, False, False, False, True]
    np.testing.assert_array_equal(groups.parts.sum(0), 1)
