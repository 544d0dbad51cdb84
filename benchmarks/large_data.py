"""Random datasets and models of a requested size, for measurements of memory."""

from __future__ import annotations

import numpy as np

from marquee.data.dataset import Dataset, Interactions
from marquee.data.interactions import WeightedInteractions
from marquee.data.splits import Split, temporal_holdout
from marquee.registry.trained_model import Histories, TrainedModel


def large_dataset(n_users: int, n_items: int, n_ratings: int, seed: int = 0) -> Dataset:
    """Return a dataset of about ``n_ratings`` ratings of 1 to 5 at random times; each pair occurs once."""
    rng = np.random.default_rng(seed)
    pairs = np.unique(rng.integers(0, n_users * n_items, n_ratings))
    users, items = np.divmod(rng.permutation(pairs), n_items)
    ratings = Interactions(
        users.astype(np.int32),
        items.astype(np.int32),
        rng.integers(1, 6, len(pairs)).astype(np.float64),
        np.arange(len(pairs), dtype=np.int64),
    )
    nothing = ratings.where(np.zeros(len(pairs), bool))
    user_ids, movie_ids = (
        [f"{kind}{number:07}" for number in range(n)] for kind, n in (("u", n_users), ("m", n_items))
    )
    return Dataset(user_ids, movie_ids, ratings, nothing, 1.0, 5.0)


def large_split(n_users: int, n_items: int, ratings_per_user: int = 6, fraction: float = 0.5) -> Split:
    """Return the temporal holdout of a large dataset."""
    return temporal_holdout(large_dataset(n_users, n_items, n_users * ratings_per_user), fraction)


def large_model(split: Split, rank: int = 8) -> TrainedModel:
    """Return a model of random factors with the histories of ``split.train``."""
    rng, train = np.random.default_rng(1), split.train

    def draw(*shape: int) -> np.ndarray:
        return rng.normal(0, 0.1, shape).astype(np.float32)

    known = WeightedInteractions.from_dataset(train)
    return TrainedModel(
        user_ids=train.user_ids,
        movie_ids=train.movie_ids,
        mean=3.0,
        user_biases=draw(train.n_users),
        user_vectors=draw(train.n_users, rank),
        item_biases=draw(train.n_items),
        item_vectors=draw(train.n_items, rank),
        rank_items=draw(train.n_items, rank),
        rank_history=draw(train.n_items, rank),
        popularity=np.abs(draw(train.n_items)),
        histories=Histories.from_entries(train.n_users, known.users, known.items, known.ratings, known.weights),
        rating_min=1.0,
        rating_max=5.0,
        prior_mean=draw(rank + 1),
        prior_precision=np.eye(rank + 1, dtype=np.float32),
        noise_precision=1.0,
    )
