"""Fit of a rating model on any rating scale, by a linear map to the five-point scale.

Priors, regularization and learning rates were chosen for ratings of 1 to 5. On a scale of 1 to 10 the same values would
shrink less. Trainers therefore get ratings of 1 to 5, and an exact linear map converts the factors back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from marquee.data.dataset import Dataset
from marquee.models.trainer_port import ProgressCallback, RatingFactors, Trainer, UserPrior

_LOW, _HIGH = 1.0, 5.0


def fit_on_five_points(
    trainer: Trainer, dataset: Dataset, params: Mapping[str, Any], seed: int, progress: ProgressCallback
) -> RatingFactors:
    """Return the factors of ``trainer`` on the scale of ``dataset``; on a scale of 1 to 5 they are not converted.

    If all ratings are equal, as with likes, nothing is fitted, and every prediction is that rating.
    """
    if len(dataset.ratings) and np.ptp(dataset.ratings.values) == 0:
        return _constant_factors(dataset)
    if (dataset.rating_min, dataset.rating_max) == (_LOW, _HIGH):
        return trainer(dataset, params, seed, progress)
    unit = (dataset.rating_max - dataset.rating_min) / (_HIGH - _LOW)
    values = _LOW + (dataset.ratings.values - dataset.rating_min) / unit
    ratings = replace(dataset.ratings, values=values)
    fitted = trainer(replace(dataset, ratings=ratings, rating_min=_LOW, rating_max=_HIGH), params, seed, progress)
    return RatingFactors(
        mean=dataset.rating_min + (fitted.mean - _LOW) * unit,
        user_biases=fitted.user_biases * unit,
        user_vectors=fitted.user_vectors * unit,
        item_biases=fitted.item_biases * unit,
        item_vectors=fitted.item_vectors,
        prior=_scale_prior(fitted.prior, unit),
    )


def _constant_factors(dataset: Dataset) -> RatingFactors:
    """Return factors of one column, all zero, so that each prediction is the one rating that occurs."""
    prior = UserPrior(np.zeros(2), np.eye(2), 1.0)
    user_biases, item_biases = np.zeros(dataset.n_users), np.zeros(dataset.n_items)
    vectors = user_biases[:, None], item_biases[:, None]
    return RatingFactors(float(dataset.ratings.values[0]), user_biases, vectors[0], item_biases, vectors[1], prior)


def _scale_prior(prior: UserPrior, unit: float) -> UserPrior:
    """Return the prior of vectors and biases that are ``unit`` times as long; drift is relative to the noise."""
    return UserPrior(
        prior.mean * unit,
        prior.precision / unit**2,
        prior.noise_precision / unit**2,
        None if prior.implicit is None else prior.implicit * unit,
        prior.drift,
    )
