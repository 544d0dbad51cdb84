"""Baseline (bias) model: a rating is ``mean + user bias + item bias``, without interaction."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from marquee.data.dataset import Dataset

Floats = NDArray[np.float64]
SHRINKAGE = 5.0


@dataclass(frozen=True, slots=True)
class Biases:
    """Biases about the mean rating; 0 for a user or item without ratings."""

    mean: float
    user_biases: Floats  # [n_users]
    item_biases: Floats  # [n_items]

    def predict(self, users: NDArray[np.integer], items: NDArray[np.integer]) -> Floats:
        """Return the predicted rating of each pair, not clipped."""
        predictions: Floats = self.mean + self.user_biases[users] + self.item_biases[items]
        return predictions


def fit_biases(dataset: Dataset, *, shrinkage: float = SHRINKAGE, rounds: int = 10) -> Biases:
    """Fit by alternating ridge regression.

    ``shrinkage``: pseudo-ratings with residual 0 added to each user and item.
    """
    ratings, mean = dataset.ratings, float(dataset.ratings.values.mean())
    user_biases, item_biases = np.zeros(dataset.n_users), np.zeros(dataset.n_items)
    user_counts = np.bincount(ratings.users, minlength=dataset.n_users) + shrinkage
    item_counts = np.bincount(ratings.items, minlength=dataset.n_items) + shrinkage
    for _ in range(rounds):
        residuals = ratings.values - mean - user_biases[ratings.users]
        item_biases = np.bincount(ratings.items, residuals, dataset.n_items) / item_counts
        residuals = ratings.values - mean - item_biases[ratings.items]
        user_biases = np.bincount(ratings.users, residuals, dataset.n_users) / user_counts
    return Biases(mean, user_biases, item_biases)
