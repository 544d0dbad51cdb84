"""Fit of a complete model: rating and ranking factors, popularity, and every user's history."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from threadpoolctl import threadpool_limits

from marquee.data.dataset import Dataset
from marquee.data.interactions import WeightedInteractions
from marquee.models import content, popularity
from marquee.models.ranker_port import RankingFactors, describe_method, load_ranker
from marquee.models.rating_scale import fit_on_five_points
from marquee.models.trainer_port import ProgressCallback, RatingFactors, load_trainer, no_progress
from marquee.registry.trained_model import Histories, TrainedModel
from marquee.scoring.arrays import empty_matrix
from marquee.training.tuning import NOTHING_CHOSEN, select_section

if TYPE_CHECKING:
    from marquee.training.params import Params

_log = logging.getLogger(__name__)
_ONE_FIT_AT_A_TIME = threading.Lock()


def train_model(
    dataset: Dataset,
    params: Params,
    progress: ProgressCallback = no_progress,
    chosen: Mapping[str, float] = NOTHING_CHOSEN.chosen,
) -> TrainedModel:
    """Fit all parts of a model. Equal data, parameters and seed give equal bits.

    ``chosen`` are parameters by their path that replace those of ``params``
    (:class:`~marquee.training.tuning.TuningChoice`).

    Fits in one process run one after the other, because the limit of one BLAS thread holds for the process.
    """
    # BLAS splits a product by its number of threads, which changes the last bits.
    with _ONE_FIT_AT_A_TIME, threadpool_limits(1, user_api="blas"):
        return _fit(dataset, params, progress, chosen)


def _fit(dataset: Dataset, params: Params, progress: ProgressCallback, chosen: Mapping[str, float]) -> TrainedModel:
    trainer = params.trainer
    rating = fit_on_five_points(load_trainer(trainer), dataset, params.trainers[trainer], params.seed, progress)
    progress("rank", 0.0)
    interactions = WeightedInteractions.from_dataset(dataset)
    popular = popularity.fit_popularity(
        interactions,
        dataset.n_items,
        msgspec.structs.replace(params.popularity, **select_section(chosen, "popularity")),
    )
    ranking = _fit_ranker(dataset, interactions, popular, params, chosen)
    rating, ranking = content.complete(
        dataset.content_features,
        np.bincount(dataset.ratings.items, minlength=dataset.n_items).astype(np.float64),
        rating,
        ranking,
        np.bincount(interactions.items, minlength=dataset.n_items).astype(np.float64),
    )
    progress("rank", 1.0)
    histories = Histories.from_entries(
        dataset.n_users, interactions.users, interactions.items, interactions.ratings, interactions.weights
    )
    return assemble(dataset, rating, ranking, popular.recent, histories)


def _fit_ranker(
    dataset: Dataset,
    interactions: WeightedInteractions,
    popular: popularity.Popularity,
    params: Params,
    chosen: Mapping[str, float],
) -> RankingFactors:
    name = params.ranker
    section = {**params.rankers[name], **select_section(chosen, f"rankers.{name}")}
    _log.info("ranking %d movies with %s", dataset.n_items, describe_method(name, section, dataset.n_items))
    shape = (dataset.n_users, dataset.n_items)
    return load_ranker(name)(interactions, shape, popular, section, params.seed)


def assemble(
    dataset: Dataset,
    rating: RatingFactors,
    ranking: RankingFactors,
    recent_popularity: np.ndarray,
    histories: Histories,
) -> TrainedModel:
    """Return the model of fitted parts, in float32."""
    return TrainedModel(
        user_ids=list(dataset.user_ids),
        movie_ids=list(dataset.movie_ids),
        mean=rating.mean,
        user_biases=_to_float32(rating.user_biases),
        user_vectors=_to_float32(rating.user_vectors),
        item_biases=_to_float32(rating.item_biases),
        item_vectors=_to_float32(rating.item_vectors),
        rank_items=_to_float32(ranking.rank_items),
        rank_history=_to_float32(ranking.rank_history),
        popularity=_to_float32(recent_popularity),
        histories=histories,
        rating_min=dataset.rating_min,
        rating_max=dataset.rating_max,
        prior_mean=_to_float32(rating.prior.mean),
        prior_precision=_to_float32(rating.prior.precision),
        noise_precision=rating.prior.noise_precision,
        prior_implicit=empty_matrix() if rating.prior.implicit is None else _to_float32(rating.prior.implicit),
        drift=rating.prior.drift,
        trend=_to_trend(ranking),
        popularity_columns=ranking.popularity_columns,
    )


def _to_trend(ranking: RankingFactors) -> np.ndarray | None:
    """Return the trend as float32, above 0, so that scores can be divided by it; None if there is none."""
    return None if ranking.trend is None else np.maximum(_to_float32(ranking.trend), np.finfo(np.float32).tiny)


def _to_float32(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array, np.float32)
