"""The mathematics of scikit-surprise's SVD, compiled: the same updates in the same order, many times faster.

Biased matrix factorisation by stochastic gradient descent (Funk, 2006; Koren, Bell and Volinsky, "Matrix
Factorization Techniques for Recommender Systems", 2009). The reference is ``surprise_svd``; a test holds the
two together.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from marquee.training.dataset import Dataset
from marquee.training.surprise_svd import Factorisation, SurpriseParams, head_of
from marquee.training.trainer import Floats, Progress, RatingHead, section

# surprise draws its first factors with this spread.
_INITIAL_SPREAD = 0.1


def train(dataset: Dataset, params: Mapping[str, Any], seed: int, progress: Progress) -> RatingHead:
    """Fit as ``surprise_svd`` does, with the parameters of its names."""
    return head_of(fit(dataset, section(params, SurpriseParams, "sgd"), seed, progress), dataset)


def fit(dataset: Dataset, params: SurpriseParams, seed: int, progress: Progress) -> Factorisation:
    """The factors that surprise's SVD would find with this ``seed``."""
    ratings = dataset.ratings
    users, user = _by_appearance(ratings.users)
    items, item = _by_appearance(ratings.items)
    order = np.argsort(user, kind="stable")  # surprise goes from user to user
    # The legacy generator, since that is the one surprise draws from.
    rng = np.random.RandomState(seed)
    found = Factorisation(
        mean=float(ratings.values.mean()),
        users=users,
        user_vectors=rng.normal(0.0, _INITIAL_SPREAD, (len(users), params.n_factors)),
        user_biases=np.zeros(len(users)),
        items=items,
        item_vectors=rng.normal(0.0, _INITIAL_SPREAD, (len(items), params.n_factors)),
        item_biases=np.zeros(len(items)),
    )
    columns = (user[order], item[order], ratings.values[order])
    for epoch in range(params.n_epochs):
        progress("fit", epoch / params.n_epochs)
        descend(
            *columns,
            found.mean,
            found.user_vectors,
            found.user_biases,
            found.item_vectors,
            found.item_biases,
            params.learning_rate,
            params.regularisation,
        )
    progress("fit", 1.0)
    return found


def _by_appearance(rows: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """The distinct rows in the order in which they first appear, and each row's place in that order."""
    distinct, first, inverse = np.unique(rows, return_index=True, return_inverse=True)
    order = np.argsort(first)
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    return distinct[order], place[inverse]


# Only the dot product's sum is reordered: a difference of 1e-16 relative, for vector registers.
@numba.njit(fastmath={"reassoc", "contract", "nsz", "arcp"}, error_model="numpy", cache=True)
def descend(
    user: Any,
    item: Any,
    rating: Any,
    mean: float,
    user_vectors: Floats,
    user_biases: Floats,
    item_vectors: Floats,
    item_biases: Floats,
    rate: float,
    regularisation: float,
) -> None:
    """One epoch over the ratings in their order; the vectors and biases are changed in place."""
    factors = user_vectors.shape[1]
    for n in range(len(rating)):
        u, i = user[n], item[n]
        dot = 0.0
        for f in range(factors):
            dot += user_vectors[u, f] * item_vectors[i, f]
        error = rating[n] - (mean + user_biases[u] + item_biases[i] + dot)
        user_biases[u] += rate * (error - regularisation * user_biases[u])
        item_biases[i] += rate * (error - regularisation * item_biases[i])
        for f in range(factors):
            p, q = user_vectors[u, f], item_vectors[i, f]
            user_vectors[u, f] = p + rate * (error * q - regularisation * p)
            item_vectors[i, f] = q + rate * (error * p - regularisation * q)
