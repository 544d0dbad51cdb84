"""Ranking model of the cluster: the EASE regression from distributed Gram products.

Each shard of users contributes ``X'X`` and ``X'T`` of its rows, as sparse blocks of items. The workers add the blocks;
the driver receives their sums, two dense float32 matrices [n_items, n_items], and solves the regression.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import csr_array

from marquee.data.interactions import WeightedInteractions
from marquee.errors import SettingsError
from marquee.models import popularity
from marquee.models.dense_inverse import DenseInverse, blocks
from marquee.models.ease import EaseParams, fit_factors
from marquee.models.item_regression import CollectedRegression, ItemRegression
from marquee.models.popularity import Popularity
from marquee.models.ranker_port import RankingFactors
from marquee.training.cluster.spark_session import Totals, sum_partitions
from marquee.training.cluster.user_shards import Catalog, Shard

if TYPE_CHECKING:
    from pyspark import RDD

_Block = tuple[str, int]  # Name of a matrix, and first row of a block.


def fit_ranking(
    shards: RDD[Shard], catalog: Catalog, cut: int, popular: Popularity, section: EaseParams, seed: int
) -> RankingFactors:
    """Fit the regression on the interactions before ``cut``.

    Raises :class:`SettingsError` if the dense inverse does not fit ``dense_gb``.
    """
    n_items = len(catalog.movie_ids)
    if not section.is_dense(n_items):
        raise SettingsError(
            f"engine: spark solves the ranking model of {n_items} movies densely, which needs rankers.ease.dense_gb of "
            f"at least {4e-9 * n_items**2:.1f}; raise it, and give the driver three times as much memory"
        )
    gram, cross = _collect(shards, catalog, cut)
    regression = CollectedRegression(gram, cross, section.ridge, section.dropout)
    return fit_factors(regression, DenseInverse(regression, gram), popular, section, seed)


def fit_popularity(
    shards: RDD[Shard], catalog: Catalog, cut: int, start: Totals, params: popularity.PopularityParams
) -> Popularity:
    """Return the popularity of the items before ``cut``. ``start`` holds the sums of :func:`count_interactions`."""
    count = partial(_count_decayed, catalog, cut, max(start["newest"]), params.half_life_days)
    decayed = sum_partitions(shards.map(count))["decayed"]
    return popularity.smooth_counts(start["weights"], decayed, params.prior_likes)


def count_interactions(interactions: WeightedInteractions, n_items: int) -> Totals:
    """Return number and weight of the interactions of each item, and the time of the newest one."""
    return {
        "interactions": np.bincount(interactions.items, minlength=n_items).astype(np.float64),
        "weights": popularity.count_all(interactions, n_items),
        "newest": [int(interactions.times.max())] if len(interactions.times) else [],
    }


def _count_decayed(catalog: Catalog, cut: int, newest: int, half_life_days: float, shard: Shard) -> Totals:
    interactions = WeightedInteractions.from_dataset(shard.split(catalog, cut).train)
    return {"decayed": popularity.decay_counts(interactions, len(catalog.movie_ids), half_life_days, newest)}


def _collect(shards: RDD[Shard], catalog: Catalog, cut: int) -> tuple[np.ndarray, np.ndarray]:
    """Return X'X and X'T. One block of rows at a time reaches the driver."""
    n_items = len(catalog.movie_ids)
    matrices = {name: np.zeros((n_items, n_items), np.float32) for name in ("gram", "cross")}
    pieces = shards.flatMap(partial(_multiply, catalog, cut))
    added = pieces.reduceByKey(csr_array.__add__, max(1, min(catalog.shards, 2 * len(blocks(n_items)))))
    for (name, first), block in added.toLocalIterator():
        matrices[name][first : first + block.shape[0]] = block.toarray()
    return matrices["gram"], matrices["cross"]


def _multiply(catalog: Catalog, cut: int, shard: Shard) -> Iterator[tuple[_Block, csr_array]]:
    """Yield the blocks of rows of the shard's products that are not empty."""
    train = shard.split(catalog, cut).train
    interactions = WeightedInteractions.from_dataset(train)
    regression = ItemRegression.from_interactions(interactions, (train.n_users, train.n_items), 0.0, 0.0)
    for rows in blocks(train.n_items):
        own = regression.history_by_item[rows]
        for name, other in (("gram", regression.history), ("cross", regression.targets)):
            block = csr_array(own @ other)
            if block.nnz:
                yield (name, rows.start), block
