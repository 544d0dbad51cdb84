"""BPMF as a trainer: ``trainer: bpmf`` in ``params.yaml``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from marquee.data.dataset import Dataset, Interactions
from marquee.models.bpmf.gibbs import BpmfFit, BpmfParams, fit_bpmf
from marquee.models.trainer_port import Floats, ProgressCallback, RatingFactors, read_section
from marquee.models.user_prior import fit_user_prior, rated_items

SIDE_INFORMATION_WEIGHT = 0.25
"""Weight of the side information in the factors of a user without ratings; the rest is the average user's.

Chosen on five temporal backtests of MovieLens 100K before the temporal holdout, by the RMSE of their 448 new users:
1.0519 with weight 1, 1.0471 with .25 (95 % interval of the paired difference: -.0094 to -.0004), 1.0469 with 0;
surprise's SVD 1.0506.
"""


def fit(dataset: Dataset, params: Mapping[str, Any], seed: int, progress: ProgressCallback) -> RatingFactors:
    """Sample the posterior and export one set of factors."""
    ratings = dataset.ratings
    result = fit_bpmf(
        ratings.users,
        ratings.items,
        ratings.values,
        (dataset.n_users, dataset.n_items),
        read_section(params, BpmfParams, "trainers.bpmf"),
        user_features=dataset.user_features,
        item_features=dataset.item_features,
        seed=seed,
        progress=lambda done, sweeps: progress("fit", done / sweeps),
    )
    return _to_rating_factors(result, dataset)


def _to_rating_factors(result: BpmfFit, dataset: Dataset) -> RatingFactors:
    factors, ratings = result.factors, dataset.ratings
    rated = np.bincount(ratings.users, minlength=dataset.n_users) > 0
    user_vectors, user_biases, item_vectors, item_biases = (
        array.astype(np.float64)
        for array in (factors.user_vectors, factors.user_biases, factors.item_vectors, factors.item_biases)
    )
    residuals = ratings.values - result.mean - factors.predict(ratings.users, ratings.items)
    items = rated_items(ratings, np.flatnonzero(rated), (dataset.n_users, dataset.n_items))
    prior = fit_user_prior(user_vectors[rated], user_biases[rated], items, residuals)
    offset = _selection_offset(ratings, result.mean, prior.mean, item_vectors, item_biases)
    prior.mean[-1] += offset
    user_vectors[~rated] = _shrink(user_vectors[~rated], prior.mean[:-1])
    user_biases[~rated] = _shrink(user_biases[~rated] + offset, prior.mean[-1])
    return RatingFactors(result.mean, user_biases, user_vectors, item_biases, item_vectors, prior)


def _shrink(predicted: Floats, average: Floats) -> Floats:
    """Return factors ``predicted`` from side information alone, shrunk toward the ``average`` user's."""
    return average + SIDE_INFORMATION_WEIGHT * (predicted - average)


def _selection_offset(
    ratings: Interactions, mean: float, user: Floats, item_vectors: Floats, item_biases: Floats
) -> float:
    """Return the mean residual of the observed ratings about the average user's predictions, in stars.

    It corrects for selection. Users choose items that suit them better than they suit the average user, and so does
    a user of whom nothing is known. On five temporal backtests of MovieLens 100K the mean error for unknown users
    is -.04 without the offset and .03 with it; the largest goes from -.13 to -.06.
    """
    average_predictions = mean + item_biases + item_vectors @ user[:-1] + user[-1]
    return float((ratings.values - average_predictions[ratings.items]).mean())
