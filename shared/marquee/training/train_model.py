"""From a dataset to a whole model: both heads, popularity, and every user's history."""

from __future__ import annotations

import threading

import numpy as np
from threadpoolctl import threadpool_limits

from marquee.data import interactions
from marquee.data.dataset import Dataset
from marquee.models import ease, popularity
from marquee.models.trainer_port import Progress, RatingFactors, load_trainer, no_progress
from marquee.registry.trained_model import Histories, TrainedModel
from marquee.training.params import Params

_ONE_AT_A_TIME = threading.Lock()


def train_model(dataset: Dataset, params: Params, progress: Progress = no_progress) -> TrainedModel:
    """Learn everything. The same data, parameters and seed give the same model, bit for bit.

    One at a time in a process: BLAS is held to one thread, for all that runs in it.
    """
    # How a product is cut for several threads shows in its last bits.
    with _ONE_AT_A_TIME, threadpool_limits(1, user_api="blas"):
        return _fit(dataset, params, progress)


def _fit(dataset: Dataset, params: Params, progress: Progress) -> TrainedModel:
    name = params.rating_trainer
    rating = load_trainer(name)(dataset, params.trainers[name], params.seed, progress)
    progress("rank", 0.0)
    known = interactions.weigh_interactions(dataset)
    popular = popularity.fit_popularity(known, dataset.n_items, params.popularity)
    shape = (dataset.n_users, dataset.n_items)
    ranked = ease.fit_ease(known, shape, popular, params.ranking, params.seed)
    progress("rank", 1.0)
    histories = Histories.from_entries(dataset.n_users, known.users, known.items, known.ratings, known.weights)
    return _model(dataset, rating, ranked, popular.of_late, histories)


def _model(
    dataset: Dataset,
    rating: RatingFactors,
    ranked: ease.RankingFactors,
    popular: np.ndarray,
    histories: Histories,
) -> TrainedModel:
    return TrainedModel(
        user_ids=list(dataset.user_ids),
        movie_ids=list(dataset.movie_ids),
        mean=rating.mean,
        user_biases=_single(rating.user_biases),
        user_vectors=_single(rating.user_vectors),
        item_biases=_single(rating.item_biases),
        item_vectors=_single(rating.item_vectors),
        rank_items=_single(ranked.rank_items),
        rank_history=_single(ranked.rank_history),
        popularity=_single(popular),
        histories=histories,
        rating_min=dataset.rating_min,
        rating_max=dataset.rating_max,
        prior_mean=_single(rating.prior.mean),
        prior_precision=_single(rating.prior.precision),
        noise_precision=rating.prior.noise_precision,
    )


def _single(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array, np.float32)
