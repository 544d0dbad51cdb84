"""Train/test splits that no model is released on: per-user temporal, and random k-fold."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from marquee.data.dataset import Dataset
from marquee.data.splits import Split


def per_user_holdout(dataset: Dataset, fraction: float) -> Split:
    """Hold out each user's newest ``fraction`` of ratings, rounded down."""
    ratings = dataset.ratings
    order = np.argsort(ratings.users, kind="stable")  # The rows are already in order of time.
    counts = np.bincount(ratings.users, minlength=dataset.n_users)
    rank = np.arange(len(ratings)) - np.repeat(np.cumsum(counts) - counts, counts)
    held_out = np.zeros(len(ratings), bool)
    held_out[order] = rank >= np.repeat(counts - np.floor(counts * fraction), counts)
    return Split(f"each user's last {fraction:.0%}", dataset.without_ratings(held_out), ratings.where(held_out))


def k_folds(dataset: Dataset, n_folds: int, seed: int) -> Iterator[Split]:
    """Yield ``n_folds`` random folds; each rating is in the test set of exactly one."""
    shuffled = np.random.default_rng(seed).permutation(len(dataset.ratings))
    for number, rows in enumerate(np.array_split(shuffled, n_folds)):
        held_out = np.zeros(len(dataset.ratings), bool)
        held_out[rows] = True
        test = dataset.ratings.where(held_out)
        yield Split(f"fold {number + 1} of {n_folds}", dataset.without_ratings(held_out), test)
