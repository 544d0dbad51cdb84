"""Fit of a model's item side on the cluster, and the sample of users on which its parameters are chosen."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from marquee.data.content_features import encode_content
from marquee.data.dataset import Dataset, Interactions
from marquee.data.interactions import WeightedInteractions
from marquee.models import content
from marquee.models.ease import EaseParams
from marquee.models.trainer_port import ProgressCallback, read_section
from marquee.registry.trained_model import Histories
from marquee.training.cluster import shard_factorization, shard_ranking
from marquee.training.cluster.shard_evaluation import ItemModel
from marquee.training.cluster.spark_session import Totals, sum_partitions
from marquee.training.cluster.user_shards import Catalog, Shard
from marquee.training.train_model import assemble
from marquee.training.tuning import select_section

if TYPE_CHECKING:
    from pyspark import RDD

    from marquee.training.params import Params

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
    popular = shard_ranking.fit_popularity(
        shards,
        catalog,
        cut,
        start,
        msgspec.structs.replace(params.popularity, **select_section(chosen, "popularity")),
    )
    values = {**params.rankers[params.ranker], **select_section(chosen, f"rankers.{params.ranker}")}
    section = read_section(values, EaseParams, f"rankers.{params.ranker}")
    ranking = shard_ranking.fit_ranking(shards, catalog, cut, popular, section, params.seed)
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
        **shard_ranking.count_interactions(interactions, train.n_items),
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
