"""The mathematics of scikit-surprise's SVD, compiled: the same updates in the same order, many times faster.

Biased matrix factorisation by stochastic gradient descent (Funk, 2006; Koren, Bell and Volinsky, "Matrix
Factorization Techniques for Recommender Systems", 2009). The reference is ``surprise_svd``; a test holds the
two together.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from marquee.training.compiler import numba
from marquee.training.dataset import Dataset
from marquee.training.factorisation import Factorisation, head_of
from marquee.training.lanes import LANES, aligned, load, plus, plus_times, spread, store, times, total
from marquee.training.surprise_svd import SurpriseParams
from marquee.training.trainer import Floats, Progress, RatingHead, section

# surprise draws its first factors with this spread.
_INITIAL_SPREAD = 0.1


def train(dataset: Dataset, params: Mapping[str, Any], seed: int, progress: Progress) -> RatingHead:
    """Fit as ``surprise_svd`` does, with the parameters of its names."""
    return head_of(fit(dataset, section(params, SurpriseParams, "sgd"), seed, progress), dataset)


def fit(dataset: Dataset, params: SurpriseParams, seed: int, progress: Progress) -> Factorisation:
    """The factors that surprise's SVD would find with this ``seed``."""
    ratings, factors = dataset.ratings, params.n_factors
    users, user = _by_appearance(ratings.users, dataset.n_users)
    items, item = _by_appearance(ratings.items, dataset.n_items)
    # surprise goes from user to user. Of small numbers numpy's stable sort is by radix.
    order = np.argsort(user.astype(np.min_scalar_type(len(users))), kind="stable")
    # The legacy generator, since that is the one surprise draws from.
    rng = np.random.RandomState(seed)
    user_vectors, item_vectors = (_first_vectors(rng, len(rows), factors) for rows in (users, items))
    user_biases, item_biases = np.zeros(len(users)), np.zeros(len(items))
    mean = float(ratings.values.mean())
    columns = (user[order], item[order], ratings.values[order])
    for epoch in range(params.n_epochs):
        progress("fit", epoch / params.n_epochs)
        descend(
            *columns,
            mean,
            user_vectors,
            user_biases,
            item_vectors,
            item_biases,
            params.learning_rate,
            params.regularisation,
        )
    progress("fit", 1.0)
    return Factorisation(
        mean, users, user_vectors[:, :factors], user_biases, items, item_vectors[:, :factors], item_biases
    )


def _by_appearance(rows: NDArray[np.int32], n_rows: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The distinct rows in the order in which they first appear, and each row's place in that order."""
    first = np.full(n_rows, len(rows))
    first[rows[::-1]] = np.arange(len(rows))[::-1]
    distinct = np.argsort(first, kind="stable")[: int((first < len(rows)).sum())]
    place = np.empty(n_rows, np.int64)
    place[distinct] = np.arange(len(distinct))
    return distinct, place[rows]


def _first_vectors(rng: np.random.RandomState, n: int, factors: int) -> Floats:
    """Normal numbers [n, factors], then zeros: whole vector registers, rows on the borders of cache lines.

    A pair of zeros stays 0 in every update.
    """
    width = -(-factors // LANES) * LANES
    vectors: Floats = aligned(2 * n * width).view(np.float64).reshape(n, width)
    vectors[:, :factors] = rng.normal(0.0, _INITIAL_SPREAD, (n, factors))
    return vectors


# Only the order of sums and products changes: differences of 1e-15 relative.
@numba.njit(error_model="numpy", cache=True)
def descend(
    user: Any,
    item: Any,
    rating: Any,
    mean: float,
    user_vectors: Any,
    user_biases: Any,
    item_vectors: Any,
    item_biases: Any,
    rate: float,
    regularisation: float,
) -> None:
    """One epoch over the ratings, which are in order of their user; vectors and biases are changed in place.

    One pass over a user's vector updates it and multiplies it with that of the user's next film.
    """
    factors = user_vectors.shape[1]
    users, films = user_vectors.ravel(), item_vectors.ravel()
    mine = aligned(2 * factors).view(np.float64)
    keep, none = spread(1.0 - rate * regularisation), spread(0.0)
    n = 0
    while n < len(rating):
        u, film = user[n], item[n] * factors
        even, odd = none, none
        for f in range(0, factors, LANES):
            p = load(users, u * factors + f)
            store(mine, f, p)
            even = plus_times(even, p, load(films, film + f))
        while True:
            i = item[n]
            error = rating[n] - (mean + user_biases[u] + item_biases[i] + total(plus(even, odd)))
            user_biases[u] += rate * (error - regularisation * user_biases[u])
            item_biases[i] += rate * (error - regularisation * item_biases[i])
            step = spread(rate * error)
            n += 1
            if n == len(rating) or user[n] != u:
                break
            following = item[n] * factors
            even, odd = none, none
            for f in range(0, factors, LANES):
                p, q = load(mine, f), load(films, film + f)
                moved = plus_times(times(keep, p), step, q)
                store(mine, f, moved)
                store(films, film + f, plus_times(times(keep, q), step, p))
                even, odd = odd, plus_times(even, moved, load(films, following + f))
            film = following
        for f in range(0, factors, LANES):
            p, q = load(mine, f), load(films, film + f)
            store(users, u * factors + f, plus_times(times(keep, p), step, q))
            store(films, film + f, plus_times(times(keep, q), step, p))
