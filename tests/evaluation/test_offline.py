"""Metrics equal their definitions, and intervals have their nominal coverage."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.synthetic_data import blocks, checkerboard, dataset, frame

from marquee.data import splits
from marquee.data.splits import Split
from marquee.evaluation import metrics, offline
from marquee.evaluation.baselines import Candidate, bias_baseline, model_candidate
from marquee.evaluation.bootstrap import EvaluationParams, ratio_of_sums
from marquee.registry.manifest import Metric
from marquee.training.params import Params
from marquee.training.train_model import train_model

PARAMS = Params.read(Path(__file__).parents[2] / "params.yaml")
QUICK = EvaluationParams(resamples=200, interval=0.95)


def constant(value: float) -> Candidate:
    return Candidate("constant", rate=lambda users, _: np.full(len(users), value))


def alphabetical(n_items: int) -> Candidate:
    """Return a candidate that ranks the movies by their id."""
    return Candidate("alphabetical", score=lambda users: np.tile(-np.arange(float(n_items)), (len(users), 1)))


def ends(metric: Metric) -> tuple[float, float]:
    """Return the ends of the interval, which must exist."""
    assert metric.low is not None
    assert metric.high is not None
    return metric.low, metric.high


def test_compute_metrics_constant_prediction_has_its_errors() -> None:
    """A candidate that always predicts 3 has exactly the errors of 3."""
    data = dataset(frame(("u", "a+1", 3.0, 1), ("u", "b+1", 5.0, 2), ("v", "a+1", 1.0, 3), ("v", "c+1", 4.0, 4)))
    split = splits.temporal_holdout(data, 0.6)
    computed = offline.compute_metrics(constant(3.0), split, QUICK, 7)
    assert len(split.test) == 3
    assert computed["rmse"].value == pytest.approx(((4 + 4 + 1) / 3) ** 0.5)
    assert computed["mae"].value == pytest.approx((2 + 2 + 1) / 3)


def test_ranking_by_user_hit_in_second_position_has_known_metrics() -> None:
    """One relevant item in second position: NDCG 1 / log2(3), recall 1. Seen items take no position."""
    ratings = frame(
        *(("u", f"{item}+1", 4.0, 1) for item in "ab"),
        *(("v", f"{item}+1", 4.0, 2) for item in "cde"),
        ("u", "d+1", 5.0, 9),
        ("u", "e+1", 2.0, 10),
    )
    split = splits.temporal_holdout(dataset(ratings), 0.2)
    result = offline.ranking_by_user(alphabetical(5), split)
    assert {name: values.tolist() for name, values in result.items()} == {
        "ndcg@10": [pytest.approx(1 / np.log2(3))],
        "ndcg@20": [pytest.approx(1 / np.log2(3))],
        "recall@10": [1.0],
        "recall@20": [1.0],
    }


def test_ranking_by_user_watched_items_take_no_position() -> None:
    """An item that the user watched before the split is not recommended to them again."""
    ratings = frame(("u", "a+1", 4.0, 1), ("v", "b+1", 2.0, 2), ("v", "c+1", 3.0, 3), ("u", "c+1", 5.0, 9))
    data = dataset(ratings, frame(("u", "b+1", 99.0, 4)))
    split = splits.temporal_holdout(data, 0.25)
    assert offline.ranking_by_user(alphabetical(3), split)["ndcg@10"].tolist() == [1.0]


@given(st.integers(1, 20), st.integers(1, 30), st.integers(0, 10))
def test_ndcg_perfect_list_is_one(k: int, n_relevant: int, seed: int) -> None:
    """All relevant items first give 1. No other order gives more, and none less than 0."""
    hits = np.zeros((1, k), bool)
    hits[0, : min(k, n_relevant)] = True
    counts = np.array([n_relevant])
    assert metrics.ndcg(hits, counts)[0] == pytest.approx(1)
    shuffled = np.random.default_rng(seed).permuted(hits, axis=1)
    assert 0 <= metrics.ndcg(shuffled, counts)[0] <= 1 + 1e-12
    assert metrics.recall(hits, counts)[0] == min(k, n_relevant) / n_relevant


def test_ratio_of_sums_interval_covers_the_mean() -> None:
    """Of 1000 samples from a known distribution, about 95 % have an interval that covers its mean."""
    rng = np.random.default_rng(0)
    covered = 0
    for seed in range(1000):
        sample = rng.normal(2.0, 1.0, size=100)
        low, high = ends(ratio_of_sums(sample, np.ones(100), QUICK, seed))
        covered += low <= 2.0 <= high
    assert 900 <= covered <= 980


def test_ratio_of_sums_same_seed_gives_same_interval() -> None:
    """Intervals are reproducible, and another seed gives another one."""
    sums, counts = np.arange(30.0), np.full(30, 2.0)
    first, again, other = (
        ratio_of_sums(sums, counts, EvaluationParams(resamples=100, interval=0.9), seed) for seed in (1, 1, 2)
    )
    assert first == again
    assert ends(first) != ends(other)


def test_ratio_of_sums_without_users_is_nan() -> None:
    """If no user likes an item of the test, the metric is NaN."""
    assert np.isnan(ratio_of_sums(np.empty(0), np.empty(0), QUICK, 0).value)


def test_evaluate_counts_users_and_names_seed_and_data() -> None:
    """The numbers of predicted, known and ranked users are those of the split; seed and digest are recorded."""
    ratings = frame(
        ("u", "a+1", 4.0, 1),
        ("v", "a+1", 2.0, 2),
        ("w", "b+1", 3.0, 3),
        ("u", "b+1", 5.0, 9),
        ("x", "a+1", 1.0, 9),
    )
    data = dataset(ratings)
    split = splits.temporal_holdout(data, 0.4)
    result = offline.evaluate(train_model(split.train, PARAMS), split, QUICK, 7, "digest")
    assert (result.ratings, result.users, result.known_users, result.ranked_users) == (2, 2, 1, 1)
    assert (result.seed, result.data) == (7, "digest")


def test_bias_baseline_predicts_additive_ratings_only() -> None:
    """A sum of a user's and an item's part is predicted closely; a checkerboard is not."""
    rows = [(f"u{u}", f"f{f}+1", float(2 + u % 2 + f % 3), u * 20 + f) for u in range(20) for f in range(20)]
    data = dataset(frame(*rows))
    squared, _, counts = offline.errors_by_user(bias_baseline(data, shrinkage=0.1), data.ratings)
    assert (squared.sum() / counts.sum()) ** 0.5 < 0.05
    board = dataset(checkerboard())
    squared, _, counts = offline.errors_by_user(bias_baseline(board), board.ratings)
    assert (squared.sum() / counts.sum()) ** 0.5 > 1.8


def test_model_candidate_user_without_history_gets_popularity() -> None:
    """The candidate answers as the service does: without history, the popular items."""
    data = dataset(blocks(), frame(("zz", "b0+0000", 90.0, 1)))
    model = train_model(splits.temporal_holdout(data, 0.1).train.watch_sessions_before(0), PARAMS)
    score = model_candidate(model).score
    assert score is not None
    user = np.array([data.user_ids.index("zz")], np.int32)
    np.testing.assert_array_equal(score(user)[0], model.popularity)


def test_evaluate_twice_gives_equal_metrics() -> None:
    """Two fits and evaluations of one split are equal, metric by metric, with all candidates."""
    data = dataset(blocks())
    split: Split = splits.temporal_holdout(data, 0.2)
    runs = [offline.evaluate(train_model(split.train, PARAMS), split, QUICK, 5, data.sha256()) for _ in range(2)]
    assert runs[0] == runs[1]
    assert set(runs[0].metrics) == {"model", "popularity", "bias_only"}
    ranking = {"ndcg@10", "ndcg@20", "recall@10", "recall@20", "exposure_gini@10", "tail_exposure@10"}
    assert {"rmse", "mae", *ranking} == set(runs[0].metrics["model"])
    assert (runs[0].data, runs[0].seed) == (data.sha256(), 5)
    for by_name in runs[0].metrics.values():
        for metric in by_name.values():
            low, high = ends(metric)
            assert low <= metric.value <= high
