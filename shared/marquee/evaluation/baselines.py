"""Candidates of an evaluation: a model as it is served, and the baselines that it must beat."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from marquee.data.dataset import Dataset
from marquee.models import biases
from marquee.registry.trained_model import TrainedModel
from marquee.scoring.arrays import multiply_pairs

Ints = NDArray[np.int32]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model under evaluation; it predicts ratings, or ranks, or both.

    ``rate(users, items)`` returns the rating of each pair. ``score(users)`` returns one score an item for each user,
    [len(users), n_items]; a higher score ranks first.
    """

    name: str
    rate: Callable[[Ints, Ints], Floats] | None = None
    score: Callable[[Ints], Floats] | None = None


def model_candidate(model: TrainedModel) -> Candidate:
    """Return the model as it is served: ratings are clipped, and users without history get the popular list."""
    h = model.histories
    shape = (len(model.user_ids), len(model.movie_ids))
    weights = csr_array((h.weights, h.items.astype(np.int64), h.indptr), shape=shape)

    def rate(users: Ints, items: Ints) -> Floats:
        dots = multiply_pairs(model.user_vectors, users, model.item_vectors, items)
        raw = model.mean + model.user_biases[users] + model.item_biases[items] + dots
        ratings: Floats = np.clip(raw, model.rating_min, model.rating_max)
        return ratings

    def score(users: Ints) -> Floats:
        scores: Floats = (weights[users] @ model.rank_history) @ model.rank_items.T.astype(np.float64)
        without_history = weights.indptr[users] == weights.indptr[users + 1]
        scores[without_history] = model.popularity
        return scores

    return Candidate("model", rate, score)


def popularity_baseline(model: TrainedModel) -> Candidate:
    """Return a candidate that ranks by recent popularity: the same list for all users."""
    return Candidate("popularity", score=lambda users: np.tile(model.popularity.astype(float), (len(users), 1)))


def bias_baseline(dataset: Dataset, *, shrinkage: float = biases.SHRINKAGE) -> Candidate:
    """Return a candidate that predicts mean + user bias + item bias (:func:`marquee.models.biases.fit_biases`)."""
    fitted = biases.fit_biases(dataset, shrinkage=shrinkage)

    def rate(users: Ints, items: Ints) -> Floats:
        return np.clip(fitted.predict(users, items), dataset.rating_min, dataset.rating_max)

    return Candidate("bias_only", rate)
