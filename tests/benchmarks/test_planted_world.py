"""Planted worlds have the structure that they promise, and the benchmarks on them give figures that can be stored."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from benchmarks.fixed_parameters import Comparison
from benchmarks.planted_world import World, planted_dataset, sample_holdout
from benchmarks.ranking_scale import Request, measure

from benchmarks import bench_tuning
from marquee.training.tuning import TuningChoice

WORLD = World(800, 300, 30_000, clusters=10, trend=6.0)


def test_planted_dataset_has_distinct_pairs_long_tail_and_drift() -> None:
    """Each pair occurs once, a tenth of the items has a quarter of the ratings, and the popular ones change."""
    ratings = planted_dataset(WORLD).ratings
    assert len(np.unique(ratings.users.astype(np.int64) * WORLD.n_items + ratings.items)) == len(ratings)
    assert (np.diff(ratings.times) >= 0).all()
    counts = np.sort(np.bincount(ratings.items, minlength=WORLD.n_items))[::-1]
    assert counts[:30].sum() > len(ratings) / 4
    half = len(ratings) // 2
    early, late = (
        np.bincount(items, minlength=WORLD.n_items) for items in (ratings.items[:half], ratings.items[half:])
    )
    assert np.corrcoef(early, late)[0, 1] < 0.7


def test_planted_dataset_equal_seeds_give_equal_data() -> None:
    """The hash of a world depends on its seed only."""
    assert planted_dataset(WORLD, 1).sha256() == planted_dataset(WORLD, 1).sha256()
    assert planted_dataset(WORLD, 1).sha256() != planted_dataset(WORLD, 2).sha256()


def test_sample_holdout_takes_the_newest_ratings_of_the_sampled_users() -> None:
    """No held-out rating is older than a training rating of its user, and other users lose none."""
    data = planted_dataset(WORLD)
    split = sample_holdout(data, 50)
    users = np.unique(split.test.users)
    assert len(users) <= 50
    assert len(split.train.ratings) + len(split.test) == len(data.ratings)
    for user in users:
        known, later = (part.times[part.users == user] for part in (split.train.ratings, split.test))
        assert known.max() <= later.min()


def test_measure_iterative_ranker_with_its_references() -> None:
    """The subprocess takes changed parameters, and returns NDCG, time and memory."""
    world = {"n_users": 400, "n_items": 200, "n_ratings": 15_000, "clusters": 10}
    outcome = measure(Request(world, {"dense_gb": 0.0, "head_items": 20}, exact=True, pure_svd=True))
    assert set(outcome.ndcg) == {"ease", "exact", "pure_svd"}
    assert outcome.ndcg["ease"] == pytest.approx(outcome.ndcg["exact"], abs=0.02)
    assert outcome.gb >= outcome.data_gb > 0
    assert outcome.cpu_min > 0


@pytest.mark.parametrize(("chosen", "holds"), [(0.4, True), (0.2, False)])
def test_tuning_benchmark_compares_with_popularity(monkeypatch: pytest.MonkeyPatch, chosen: float, holds: bool) -> None:
    """The result is stored as JSON, and fails if the choice is worse than popularity beyond its interval."""
    noise = np.random.default_rng(0).normal(0, 0.1, 500)
    popular = np.full(500, 0.3)
    comparison = Comparison(TuningChoice(), chosen + noise, popular, popular, popular)
    monkeypatch.setattr(bench_tuning, "compare", lambda _: comparison)
    results = {result.name: result for result in bench_tuning.tuning()}
    assert msgspec.json.encode(list(results.values()))
    assert results["tuning_sparse_popularity"].holds == holds
    assert results["tuning_trends"].holds == holds
