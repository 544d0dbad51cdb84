"""The EASE ranker and PureSVD recommend the movies that similar users like."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array
from tests.support.synthetic_data import blocks, dataset, frame

from benchmarks import user_splits
from marquee.data import sources, splits
from marquee.data.interactions import WeightedInteractions
from marquee.evaluation import offline
from marquee.evaluation.baselines import Candidate, model_candidate, popularity_baseline
from marquee.models import ease, pure_svd
from marquee.models.item_regression import solve_regression
from marquee.models.popularity import Popularity
from marquee.models.ranker_port import Ranker, RankingFactors
from marquee.training.params import Params
from marquee.training.train_model import train_model

PARAMS = Params.read(Path(__file__).parents[2] / "params.yaml")
WITHOUT_TIME = {"trend_exponent": 0.0, "popularity_weight": 0.0}
EASE: dict[str, Any] = {"rank": 12, "ridge": 100, "dropout": 0.3, "dense_gb": 1, "head_items": 9, **WITHOUT_TIME}
ITERATIVE = {**EASE, "dense_gb": 0}
PURE_SVD: dict[str, Any] = {"rank": 4, **WITHOUT_TIME}
EACH_RANKER = pytest.mark.parametrize(
    ("fit", "params"), [(ease.fit, EASE), (ease.fit, ITERATIVE), (pure_svd.fit, PURE_SVD)]
)


def uniform_popularity(n_items: int) -> Popularity:
    """Return equal, constant popularity of all items."""
    return Popularity(np.full(n_items, 1 / n_items), np.ones(n_items))


def scores(factors: RankingFactors, weights: np.ndarray) -> np.ndarray:
    return np.asarray((weights @ factors.rank_history) @ factors.rank_items.T)


@EACH_RANKER
def test_ranker_history_of_one_item_recommends_its_block(fit: Ranker, params: dict[str, Any]) -> None:
    """After one item of a block of preferences, the best eleven others are the rest of that block."""
    data = dataset(blocks())
    interactions = WeightedInteractions.from_dataset(data)
    factors = fit(interactions, (data.n_users, data.n_items), uniform_popularity(data.n_items), params, 0)
    assert factors.rank_items.shape == factors.rank_history.shape == (data.n_items, params["rank"])
    for block in range(4):
        items = [i for i, movie_id in enumerate(data.movie_ids) if movie_id.startswith(f"b{block}+")]
        history = np.zeros(data.n_items)
        history[items[0]] = 1
        ranked = np.argsort(-scores(factors, history))
        assert set(ranked[ranked != items[0]][:11]) == set(items[1:])


def test_ease_movielens_fold_beats_full_rank_ease(base_data: Path) -> None:
    """On a random fold, where time is no information, rank 64 ranks better than plain EASE at full rank."""
    data = dataset(sources.read_base(base_data, datetime(2000, 1, 1, tzinfo=UTC)).ratings)
    split = next(user_splits.k_folds(data, 5, 0))
    interactions, shape = WeightedInteractions.from_dataset(split.train), (data.n_users, data.n_items)
    params = {**PARAMS.rankers["ease"], **WITHOUT_TIME}
    factors = ease.fit(interactions, shape, uniform_popularity(data.n_items), params, 0)
    positions = (interactions.users, interactions.items)
    history = csr_array((interactions.weights, positions), shape=shape)
    liked = csr_array((1.0 * (interactions.ratings >= 4), positions), shape=shape)
    full_rank = solve_regression(liked, liked, 300)

    def ndcg(score: Callable[[np.ndarray], np.ndarray]) -> float:
        return float(offline.ranking_by_user(Candidate("ranker", score=score), split)["ndcg@10"].mean())

    low_rank = ndcg(lambda users: (history[users] @ factors.rank_history) @ factors.rank_items.T)
    assert low_rank > ndcg(lambda users: liked[users] @ full_rank) + 0.002
    assert low_rank > 0.38


@EACH_RANKER
def test_ranker_popularity_terms_prefer_popular_and_growing_items(fit: Ranker, params: dict[str, Any]) -> None:
    """Of items equally near to the history, the one that grows comes first, or the most popular recently."""
    data = dataset(blocks(2, 20, 4))
    interactions = WeightedInteractions.from_dataset(data)
    items = [i for i, movie_id in enumerate(data.movie_ids) if movie_id.startswith("b1+")]
    history = np.zeros(data.n_items)
    history[items[0]] = 1
    recent = np.full(data.n_items, 0.01)
    recent[items[2]] = 0.9
    shape = (data.n_users, data.n_items)
    popular = Popularity(recent, np.ones(data.n_items))
    factors = fit(interactions, shape, popular, {**params, "popularity_weight": 10.0}, 0)
    assert np.argmax(scores(factors, history)) == items[2]
    growth = np.ones(data.n_items)
    growth[items[3]] = 20
    factors = fit(interactions, shape, Popularity(recent, growth), {**params, "trend_exponent": 1.0}, 0)
    assert np.argmax(scores(factors, history)) == items[3]


@EACH_RANKER
@pytest.mark.parametrize("n_items", [1, 2, 3])
def test_ranker_tiny_catalog_keeps_its_rank(fit: Ranker, params: dict[str, Any], n_items: int) -> None:
    """A catalog of one to three items gives finite factors of the usual rank."""
    rows = [(f"u{u}", f"f{f}+1", 1.0 + (u + f) % 5, u * 10 + f) for u in range(4) for f in range(n_items)]
    interactions = WeightedInteractions.from_dataset(dataset(frame(*rows)))
    factors = fit(interactions, (4, n_items), uniform_popularity(n_items), params, 0)
    assert factors.rank_items.shape == (n_items, params["rank"])
    assert np.isfinite(factors.rank_items).all()


def test_ease_equally_popular_blocks_beats_popularity() -> None:
    """With equally popular blocks the ranker knows the user's block: a choice four times as narrow."""
    data = dataset(blocks())
    split = user_splits.per_user_holdout(data, 0.3)
    model = train_model(split.train, PARAMS)
    ranked = offline.ranking_by_user(model_candidate(model), split)["ndcg@10"].mean()
    popular = offline.ranking_by_user(popularity_baseline(model), split)["ndcg@10"].mean()
    assert ranked > 2.5 * popular


@pytest.mark.parametrize("fraction", [0.05, 0.1, 0.2])
def test_ease_movielens_temporal_holdout_beats_popularity(base_data: Path, fraction: float) -> None:
    """On temporal holdouts of MovieLens 100K the ranker beats recent popularity."""
    data = dataset(sources.read_base(base_data, datetime(2000, 1, 1, tzinfo=UTC)).ratings)
    split = splits.temporal_holdout(data, fraction)
    model = train_model(split.train, PARAMS)
    ranked = offline.ranking_by_user(model_candidate(model), split)
    popular = offline.ranking_by_user(popularity_baseline(model), split)
    assert ranked["ndcg@10"].mean() > popular["ndcg@10"].mean()


def test_ease_watched_items_recommend_their_block() -> None:
    """Watch sessions alone, without ratings of those items, put the other items of the block first."""
    watched = frame(*(("new", f"b1+{item:04}", 95.0, 10**9) for item in (0, 1)))
    data = dataset(blocks(2, 20, 6), watched)
    model = train_model(data, PARAMS)
    user = data.user_ids.index("new")
    score = model_candidate(model).score
    assert score is not None
    best = np.argsort(-score(np.array([user], np.int32))[0])
    unseen = [data.movie_ids[i] for i in best if data.movie_ids[i] not in ("b1+0000", "b1+0001")]
    assert all(movie_id.startswith("b1+") for movie_id in unseen[:4])
