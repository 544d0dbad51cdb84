"""Figures come out as their definitions say, with intervals that hold what they promise."""

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
from marquee.evaluation.bootstrap import ratio_of_sums
from marquee.evaluation.offline import EvaluationParams
from marquee.training.params import Params
from marquee.training.train_model import train_model

PARAMS = Params.read(Path(__file__).parents[2] / "params.yaml")
QUICK = EvaluationParams(resamples=200, interval=0.95)


def constant(value: float) -> Candidate:
    return Candidate("constant", rate=lambda users, items: np.full(len(users), value))


def test_errors_of_a_constant() -> None:
    """A candidate that always says 3 is off by exactly what it is off by."""
    data = dataset(
        frame(("u", "a+1", 3.0, 1), ("u", "b+1", 5.0, 2), ("v", "a+1", 1.0, 3), ("v", "c+1", 4.0, 4))
    )
    split = splits.temporal_holdout(data, 0.6)
    figures = offline.compute_metrics(constant(3.0), split, QUICK, 7, "hash")
    assert len(split.test) == 3
    assert figures["rmse"].value == pytest.approx(((4 + 4 + 1) / 3) ** 0.5)
    assert figures["mae"].value == pytest.approx((2 + 2 + 1) / 3)
    assert (figures["mae"].users, figures["mae"].seed, figures["mae"].data) == (2, 7, "hash")


def test_ranking_figures_by_hand() -> None:
    """One relevant item in second place: NDCG 1 / log2(3), recall 1. What the user has seen takes no place."""
    ratings = frame(
        *(("u", f"{item}+1", 4.0, 1) for item in "ab"),
        *(("v", f"{item}+1", 4.0, 2) for item in "cde"),
        ("u", "d+1", 5.0, 9),
        ("u", "e+1", 2.0, 10),
    )
    data = dataset(ratings)
    split = splits.temporal_holdout(data, 0.2)
    by_letter = Candidate("letters", score=lambda users: np.tile(-np.arange(5.0), (len(users), 1)))
    found = offline.ranking_by_user(by_letter, split)
    assert {name: values.tolist() for name, values in found.items()} == {
        "ndcg@10": [pytest.approx(1 / np.log2(3))],
        "ndcg@20": [pytest.approx(1 / np.log2(3))],
        "recall@10": [1.0],
        "recall@20": [1.0],
    }


def test_viewed_items_take_no_place() -> None:
    """An item that the user has watched before the cut is not recommended to him again."""
    ratings = frame(("u", "a+1", 4.0, 1), ("v", "b+1", 2.0, 2), ("v", "c+1", 3.0, 3), ("u", "c+1", 5.0, 9))
    data = dataset(ratings, frame(("u", "b+1", 99.0, 4)))
    split = splits.temporal_holdout(data, 0.25)
    by_letter = Candidate("letters", score=lambda users: np.tile(-np.arange(3.0), (len(users), 1)))
    assert offline.ranking_by_user(by_letter, split)["ndcg@10"].tolist() == [1.0]


@given(st.integers(1, 20), st.integers(1, 30), st.integers(0, 10))
def test_a_perfect_list_has_ndcg_one(k: int, n_relevant: int, seed: int) -> None:
    """All relevant items first: 1. In any other order not more, and never below 0."""
    hits = np.zeros((1, k), bool)
    hits[0, : min(k, n_relevant)] = True
    counts = np.array([n_relevant])
    assert metrics.ndcg(hits, counts)[0] == pytest.approx(1)
    shuffled = np.random.default_rng(seed).permuted(hits, axis=1)
    assert 0 <= metrics.ndcg(shuffled, counts)[0] <= 1 + 1e-12
    assert metrics.recall(hits, counts)[0] == min(k, n_relevant) / n_relevant


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    """Of 1000 samples from a known distribution about 95 % have an interval around its mean."""
    rng = np.random.default_rng(0)
    held = 0
    for seed in range(1000):
        sample = rng.normal(2.0, 1.0, size=100)
        figure = ratio_of_sums(sample, np.ones(100), resamples=200, interval=0.95, seed=seed, data="")
        held += figure.low <= 2.0 <= figure.high
    assert 900 <= held <= 980


def test_the_same_seed_gives_the_same_interval() -> None:
    """Intervals are reproducible; the seed that made them is in the figure."""
    sums, counts = np.arange(30.0), np.full(30, 2.0)
    first, again, other = (
        ratio_of_sums(sums, counts, resamples=100, interval=0.9, seed=seed, data="") for seed in (1, 1, 2)
    )
    assert first == again
    assert (first.low, first.high) != (other.low, other.high)


def test_nobody_to_ask() -> None:
    """Where no user likes an item of the test the figure is no number, and says that it is of no users."""
    figure = ratio_of_sums(np.empty(0), np.empty(0), resamples=10, interval=0.9, seed=0, data="")
    assert np.isnan(figure.value)
    assert figure.users == 0


def test_bias_only_knows_biases() -> None:
    """Ratings that are a sum of a user's and an item's part are predicted nearly; a checkerboard is not."""
    rows = [(f"u{u}", f"f{f}+1", float(2 + u % 2 + f % 3), u * 20 + f) for u in range(20) for f in range(20)]
    data = dataset(frame(*rows))
    squared, _, counts = offline.errors_by_user(bias_baseline(data, shrinkage=0.1), data.ratings)
    assert (squared.sum() / counts.sum()) ** 0.5 < 0.05
    board = dataset(checkerboard())
    squared, _, counts = offline.errors_by_user(bias_baseline(board), board.ratings)
    assert (squared.sum() / counts.sum()) ** 0.5 > 1.8


def test_a_user_without_history_is_shown_what_is_popular() -> None:
    """The model's candidate answers as the service does: no history, the popular items."""
    data = dataset(blocks(), frame(("zz", "b0+0000", 90.0, 1)))
    model = train_model(splits.temporal_holdout(data, 0.1).train.watch_sessions_before(0), PARAMS)
    score = model_candidate(model).score
    assert score is not None
    user = np.array([data.user_ids.index("zz")], np.int32)
    np.testing.assert_array_equal(score(user)[0], model.popularity)


def test_a_whole_evaluation_is_reproducible() -> None:
    """Two evaluations of two trainings on the same split are equal, figure by figure; all candidates are there."""
    data = dataset(blocks())
    split: Split = splits.temporal_holdout(data, 0.2)
    runs = [
        offline.evaluate(train_model(split.train, PARAMS), split, QUICK, 5, data.sha256()) for _ in range(2)
    ]
    assert runs[0] == runs[1]
    assert set(runs[0].figures) == {"model", "popularity", "bias_only"}
    assert {"rmse", "mae", "ndcg@10", "ndcg@20", "recall@10", "recall@20"} == set(runs[0].figures["model"])
    assert all(
        f.low <= f.value <= f.high and f.data == data.sha256() and f.seed == 5
        for figures in runs[0].figures.values()
        for f in figures.values()
    )
