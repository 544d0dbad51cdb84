"""Result of a biased matrix factorization, and the rating factors built from it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from marquee.data.dataset import Dataset
from marquee.models import user_prior
from marquee.models.trainer_port import Floats, RatingFactors
from marquee.scoring.arrays import multiply_pairs


@dataclass(frozen=True, slots=True)
class MatrixFactorization:
    """``mean + user_biases + item_biases + user_vectors . item_vectors`` of the rows that have ratings.

    ``users[j]`` is the dataset row of the j-th user vector; ``items`` likewise.
    """

    mean: float
    users: NDArray[np.integer]
    user_vectors: Floats
    user_biases: Floats
    items: NDArray[np.integer]
    item_vectors: Floats
    item_biases: Floats


def to_rating_factors(factorization: MatrixFactorization, dataset: Dataset) -> RatingFactors:
    """Return the factors in the dataset's rows, with the user prior.

    A user without ratings gets the mean of the users with ratings, an item without ratings zeros. (surprise
    silently drops the terms of unknown users and items instead.)
    """
    ratings = dataset.ratings
    item_vectors = scatter_rows(factorization.item_vectors, factorization.items, dataset.n_items)
    item_biases = scatter_rows(factorization.item_biases, factorization.items, dataset.n_items)
    user_vectors = scatter_rows(factorization.user_vectors, factorization.users, dataset.n_users)
    user_biases = scatter_rows(factorization.user_biases, factorization.users, dataset.n_users)
    fitted = multiply_pairs(user_vectors, ratings.users, item_vectors, ratings.items)
    fitted += factorization.mean + user_biases[ratings.users] + item_biases[ratings.items]
    rated = user_prior.rated_items(ratings, factorization.users, (dataset.n_users, dataset.n_items))
    residuals = ratings.values - fitted
    prior = user_prior.fit_user_prior(factorization.user_vectors, factorization.user_biases, rated, residuals)
    unknown = np.setdiff1d(np.arange(dataset.n_users), factorization.users)
    user_vectors[unknown], user_biases[unknown] = prior.mean[:-1], prior.mean[-1]
    return RatingFactors(factorization.mean, user_biases, user_vectors, item_biases, item_vectors, prior)


def scatter_rows(values: NDArray[np.floating], rows: NDArray[np.integer], n: int) -> Floats:
    """Return a float64 array of ``n`` rows, zero except for ``values`` at ``rows``."""
    scattered = np.zeros((n, *values.shape[1:]))
    scattered[rows] = values
    return scattered
