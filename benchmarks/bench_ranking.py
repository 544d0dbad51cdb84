"""How well the ranking head ranks, in the very numbers that are served, beside EASE at full rank."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec
import numpy as np
from scipy.sparse import csr_array

from benchmarks import movielens
from benchmarks.registry import BenchmarkResult, at_least, benchmark
from marquee.data import interactions
from marquee.data.splits import Split
from marquee.evaluation import offline
from marquee.evaluation.baselines import Candidate
from marquee.models import ease, popularity


@benchmark("ndcg10_served")
def ndcg10_served() -> Iterator[BenchmarkResult]:
    """Fold 0; a test rating of 4 or more is relevant; all unseen items are ranked.

    A random fold hides the past, so what the head knows of trends in time is switched off.
    """
    split = next(movielens.load().folds())
    params = msgspec.structs.replace(movielens.PARAMS.ranking, trend=0, popular=0)
    known, shape = interactions.weigh_interactions(split.train), (split.train.n_users, split.train.n_items)
    popular = popularity.fit_popularity(known, shape[1], movielens.PARAMS.popularity)
    head = ease.fit_ease(known, shape, popular, params, movielens.PARAMS.seed)
    history = _matrix(known, known.weights, shape).astype(np.float32)
    v, w = head.rank_history.astype(np.float32), head.rank_items.astype(np.float32)
    exact = _ndcg(split, *_full_rank(known, shape))
    value = _ndcg(split, history, lambda rows: (rows @ v) @ w.T)
    reference = f"EASE on the likes, full rank: {exact:.4f}; this head has rank {params.rank}"
    yield at_least("ndcg10_served", value, "NDCG@10", 0.385, reference=reference, reference_value=exact)


def _full_rank(
    known: interactions.WeightedInteractions, shape: tuple[int, int]
) -> tuple[csr_array, Callable[[csr_array], np.ndarray]]:
    likes = _matrix(known, (known.ratings >= 4).astype(float), shape)
    weights = ease.regression(likes, likes, 300)
    return likes, lambda rows: rows @ weights


def _matrix(
    known: interactions.WeightedInteractions, values: np.ndarray, shape: tuple[int, int]
) -> csr_array:
    return csr_array((values, (known.users, known.items)), shape=shape)


def _ndcg(split: Split, history: csr_array, score: Callable[[csr_array], np.ndarray]) -> float:
    candidate = Candidate("it", score=lambda users: score(history[users]))
    return float(offline.ranking_by_user(candidate, split)["ndcg@10"].mean())
