"""What a biased matrix factorisation comes to, whoever computed it, and the rating head made of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from marquee.data.dataset import Dataset
from marquee.models import user_prior
from marquee.models.trainer_port import Floats, RatingFactors


@dataclass(frozen=True, slots=True)
class MatrixFactorization:
    """``mean + user_biases + item_biases + user_vectors . item_vectors`` of the rows that have ratings.

    ``users[j]`` is the dataset's row of the j-th user vector; likewise the items.
    """

    mean: float
    users: NDArray[np.integer]
    user_vectors: Floats
    user_biases: Floats
    items: NDArray[np.integer]
    item_vectors: Floats
    item_biases: Floats


def to_rating_factors(found: MatrixFactorization, dataset: Dataset) -> RatingFactors:
    """The factors by our rows. surprise drops the terms of whom it does not know without a word; here a
    user without ratings explicitly is the average of those with some, an item without ratings is all zeros.
    """
    ratings = dataset.ratings
    item_vectors = _spread(found.item_vectors, found.items, dataset.n_items)
    item_biases = _spread(found.item_biases, found.items, dataset.n_items)
    user_vectors = _spread(found.user_vectors, found.users, dataset.n_users)
    user_biases = _spread(found.user_biases, found.users, dataset.n_users)
    fitted = np.einsum("nk,nk->n", user_vectors[ratings.users], item_vectors[ratings.items])
    fitted += found.mean + user_biases[ratings.users] + item_biases[ratings.items]
    expected = user_prior.fit_user_prior(found.user_vectors, found.user_biases, ratings.values - fitted)
    unknown = np.setdiff1d(np.arange(dataset.n_users), found.users)
    user_vectors[unknown], user_biases[unknown] = expected.mean[:-1], expected.mean[-1]
    return RatingFactors(found.mean, user_biases, user_vectors, item_biases, item_vectors, expected)


def _spread(rows: Floats, to: NDArray[np.integer], n: int) -> Floats:
    full = np.zeros((n, *rows.shape[1:]))
    full[to] = rows
    return full
