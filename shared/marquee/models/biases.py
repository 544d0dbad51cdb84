"""What of a rating is the user's and the item's own, without any interaction of the two."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from marquee.data.dataset import Dataset

Floats = NDArray[np.float64]
SHRINKAGE = 5.0


@dataclass(frozen=True, slots=True)
class Biases:
    """``mean + of_user[u] + of_item[i]``; 0 for whoever has no rating."""

    mean: float
    of_user: Floats  # [n_users]
    of_item: Floats  # [n_items]

    def predict(self, users: NDArray[np.integer], items: NDArray[np.integer]) -> Floats:
        """The predicted rating of each pair, not clipped."""
        predictions: Floats = self.mean + self.of_user[users] + self.of_item[items]
        return predictions


def fit_biases(dataset: Dataset, *, shrinkage: float = SHRINKAGE, rounds: int = 10) -> Biases:
    """By alternating ridge regression; ``shrinkage``: ratings at zero added to each user and item."""
    ratings, mean = dataset.ratings, float(dataset.ratings.values.mean())
    of_user, of_item = np.zeros(dataset.n_users), np.zeros(dataset.n_items)
    n_of_user = np.bincount(ratings.users, minlength=dataset.n_users) + shrinkage
    n_of_item = np.bincount(ratings.items, minlength=dataset.n_items) + shrinkage
    for _ in range(rounds):
        left = ratings.values - mean - of_user[ratings.users]
        of_item = np.bincount(ratings.items, left, dataset.n_items) / n_of_item
        left = ratings.values - mean - of_item[ratings.items]
        of_user = np.bincount(ratings.users, left, dataset.n_users) / n_of_user
    return Biases(mean, of_user, of_item)
