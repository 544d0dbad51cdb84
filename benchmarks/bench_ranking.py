"""Quality of the EASE ranker with the served float32 factors, compared with EASE at full rank."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from scipy.sparse import csr_array

from benchmarks import movielens
from benchmarks.registry import BenchmarkResult, at_least, benchmark
from marquee.data.interactions import WeightedInteractions
from marquee.data.splits import Split
from marquee.evaluation import offline
from marquee.evaluation.baselines import Candidate
from marquee.models import ease, popularity
from marquee.models.item_regression import solve_regression


@benchmark("ndcg10_served")
def ndcg10_served() -> Iterator[BenchmarkResult]:
    """Measure fold 0: a test rating of 4 or more is relevant, and all unseen items are ranked.

    Random folds leak future popularity, so the popularity terms are switched off.
    """
    split = next(movielens.load().folds())
    params = {**movielens.PARAMS.rankers["ease"], "trend_exponent": 0, "popularity_weight": 0}
    shape = (split.train.n_users, split.train.n_items)
    interactions = WeightedInteractions.from_dataset(split.train)
    popular = popularity.fit_popularity(interactions, shape[1], movielens.PARAMS.popularity)
    factors = ease.fit(interactions, shape, popular, params, movielens.PARAMS.seed)
    history = _matrix(interactions, interactions.weights, shape).astype(np.float32)
    v, w = factors.rank_history.astype(np.float32), factors.rank_items.astype(np.float32)
    exact = _ndcg(split, *_full_rank_ease(interactions, shape))
    value = _ndcg(split, history, lambda rows: (rows @ v) @ w.T)
    reference = f"EASE on the likes, full rank: {exact:.4f}; this ranker has rank {params['rank']}"
    yield at_least("ndcg10_served", value, "NDCG@10", 0.385, reference=reference, reference_value=exact)


def _full_rank_ease(
    interactions: WeightedInteractions, shape: tuple[int, int]
) -> tuple[csr_array, Callable[[csr_array], np.ndarray]]:
    likes = _matrix(interactions, (interactions.ratings >= 4).astype(float), shape)
    weights = solve_regression(likes, likes, 300)
    return likes, lambda rows: rows @ weights


def _matrix(interactions: WeightedInteractions, values: np.ndarray, shape: tuple[int, int]) -> csr_array:
    return csr_array((values, (interactions.users, interactions.items)), shape=shape)


def _ndcg(split: Split, history: csr_array, score: Callable[[csr_array], np.ndarray]) -> float:
    candidate = Candidate("ranker", score=lambda users: score(history[users]))
    return float(offline.ranking_by_user(candidate, split)["ndcg@10"].mean())
