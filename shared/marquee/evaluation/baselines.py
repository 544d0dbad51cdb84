"""What is evaluated side by side: a model as it would be served, and the baselines that it must beat."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from marquee.data.dataset import Dataset
from marquee.models import biases
from marquee.registry.trained_model import TrainedModel

Ints = NDArray[np.int32]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Candidate:
    """``rate(users, items)`` gives a rating for each pair, ``score(users)`` one number an item for each user
    [len(users), n_items], greater is better. Either may be missing.
    """

    name: str
    rate: Callable[[Ints, Ints], Floats] | None = None
    score: Callable[[Ints], Floats] | None = None


def model_candidate(model: TrainedModel) -> Candidate:
    """The model in the very numbers that are served: ratings clipped, no history: by popularity."""
    h = model.histories
    shape = (len(model.user_ids), len(model.movie_ids))
    weights = csr_array((h.weights, h.items.astype(np.int64), h.indptr), shape=shape)

    def rate(users: Ints, items: Ints) -> Floats:
        dots = np.einsum("nk,nk->n", model.user_vectors[users], model.item_vectors[items])
        raw = model.mean + model.user_biases[users] + model.item_biases[items] + dots
        ratings: Floats = np.clip(raw, model.rating_min, model.rating_max)
        return ratings

    def score(users: Ints) -> Floats:
        scores: Floats = (weights[users] @ model.rank_history) @ model.rank_items.T.astype(np.float64)
        without = weights.indptr[users] == weights.indptr[users + 1]
        scores[without] = model.popularity
        return scores

    return Candidate("model", rate, score)


def popularity_baseline(model: TrainedModel) -> Candidate:
    """The same list for everybody."""
    return Candidate(
        "popularity", score=lambda users: np.tile(model.popularity.astype(float), (len(users), 1))
    )


def bias_baseline(dataset: Dataset, *, shrinkage: float = biases.SHRINKAGE) -> Candidate:
    """Mean, user bias and item bias, by :func:`marquee.models.biases.of`."""
    found = biases.fit_biases(dataset, shrinkage=shrinkage)

    def rate(users: Ints, items: Ints) -> Floats:
        return np.clip(found.predict(users, items), dataset.rating_min, dataset.rating_max)

    return Candidate("bias_only", rate)
