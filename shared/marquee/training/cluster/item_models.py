"""Fit of the item side on the cluster, and the sample of users on which its parameters are chosen.

Rankings are the EASE regression from distributed Gram products. Each shard of users contributes ``X'X`` and ``X'T`` of
its rows, as sparse blocks of items. The workers add the blocks; the driver receives their sums, two dense float32
matrices [n_items, n_items], and solves the regression.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from scipy.sparse import csr_array

from marquee.data.content_features import encode_content
from marquee.data.dataset import Dataset, Interactions
from marquee.data.interactions import WeightedInteractions
from marquee.errors import SettingsError
from marquee.models import content, popularity
from marquee.models.dense_inverse import DenseInverse, blocks
from marquee.models.ease import EaseParams, fit_factors
from marquee.models.item_regression import CollectedRegression, ItemRegression
from marquee.models.popularity import Popularity
from marquee.models.ranker_port import RankingFactors
from marquee.models.trainer_port import ProgressCallback, read_section
from marquee.registry.trained_model import Histories
from marquee.training.cluster import shard_factorization
from marquee.training.cluster.shard_evaluation import ItemModel
from marquee.training.cluster.spark_session import Totals, sum_partitions
from marquee.training.cluster.user_shards import Catalog, Shard
from marquee.training.train_model import assemble
from marquee.training.tuning import select_section

if TYPE_CHECKING:
    from pyspark import RDD

    from marquee.training.params import Params

_Block = tuple[str, int]  # Name of a matrix, and first row of a block.
_NOTHING = Interactions(np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0), np.empty(0, np.int64))


def fit_item_model(
    shards: RDD[Shard],
    catalog: Catalog,
    cut: int,
    params: Params,
    chosen: Mapping[str, float],
    movies: Mapping[str, Mapping[str, str]],
    progress: ProgressCallback,
) -> ItemModel:
    """Fit both models on the events before ``cut``. ``movies`` holds the metadata of the movies."""
    start = sum_partitions(shards.map(partial(_count, catalog, cut)))
    state = shard_factorization.fit_items(shards, catalog, cut, start, params.spark, params.seed, progress)
    rating = shard_factorization.finish(shards, catalog, cut, state, start)
    progress("rank", 0.0)
    popular = fit_popularity(
        shards,
        catalog,
        cut,
        start,
        msgspec.structs.replace(params.popularity, **select_section(chosen, "popularity")),
    )
    values = {**params.rankers[params.ranker], **select_section(chosen, f"rankers.{params.ranker}")}
    section = read_section(values, EaseParams, f"rankers.{params.ranker}")
    ranking = fit_ranking(shards, catalog, cut, popular, section, params.seed)
    features = encode_content(catalog.movie_ids, movies)
    rating, ranking = content.complete(
        features if features.any() else None, start["rated"], rating, ranking, start["interactions"]
    )
    progress("rank", 1.0)
    no_users = Dataset((), catalog.movie_ids, _NOTHING, _NOTHING, catalog.rating_min, catalog.rating_max)
    histories = Histories.from_entries(0, _NOTHING.users, _NOTHING.items, _NOTHING.values)
    return ItemModel(assemble(no_users, rating, ranking, popular.recent, histories), state.bias_only, start["rated"])


def sample_users(shards: RDD[Shard], catalog: Catalog, cut: int, max_ratings: int) -> Dataset:
    """Return the events before ``cut`` of random users with about ``max_ratings`` ratings; of all users if they fit."""
    share = -(-max_ratings // catalog.shards)
    sampled = shards.map(partial(_sample, catalog, cut, share)).collect()
    ids = sorted(user_id for own, *_ in sampled for user_id in own)
    position = {user_id: row for row, user_id in enumerate(ids)}
    parts = []
    for number in (1, 2):
        users = [np.array([position[user_id] for user_id in one[0]], np.int32)[one[number].users] for one in sampled]
        columns = [
            np.concatenate([getattr(one[number], name) for one in sampled]) for name in ("items", "values", "times")
        ]
        rows = np.concatenate(users)
        order = np.lexsort((columns[0], rows, columns[2]))
        parts.append(Interactions(rows[order], *(column[order] for column in columns)))
    return Dataset(ids, catalog.movie_ids, parts[0], parts[1], catalog.rating_min, catalog.rating_max)


def _count(catalog: Catalog, cut: int, shard: Shard) -> Totals:
    train = shard.split(catalog, cut).train
    interactions = WeightedInteractions.from_dataset(train)
    return {
        **shard_factorization.count_ratings(train),
        **count_interactions(interactions, train.n_items),
    }


def _sample(catalog: Catalog, cut: int, share: int, shard: Shard) -> tuple[list[str], Interactions, Interactions]:
    """Return the ids and the events of random users of the shard with about ``share`` ratings."""
    train = shard.split(catalog, cut).train
    counts = np.bincount(train.ratings.users, minlength=train.n_users)
    kept = np.ones(train.n_users, bool)
    if counts.sum() > share:
        order = np.random.default_rng(shard.number).permutation(train.n_users)
        kept[order[np.cumsum(counts[order]) > share]] = False
    row = np.cumsum(kept, dtype=np.int32) - 1
    parts = []
    for part in (train.ratings, train.watch_sessions):
        own = part.where(kept[part.users])
        parts.append(Interactions(row[own.users], own.items, own.values, own.times))
    return [shard.user_ids[user] for user in np.flatnonzero(kept).tolist()], parts[0], parts[1]


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
