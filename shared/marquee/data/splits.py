"""Train/test splits: global temporal, per-user temporal, and random k-fold."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from marquee.data.dataset import Dataset, Interactions
from marquee.errors import TooFewRatings


@dataclass(frozen=True, slots=True)
class Split:
    """A training dataset and the test ratings held out from it, with the same row numbers."""

    name: str
    train: Dataset
    test: Interactions


def temporal_holdout(dataset: Dataset, fraction: float) -> Split:
    """Hold out the newest ``fraction`` of the ratings, with one split time for all users.

    Every training event, watch sessions included, is older than every test rating. Ratings at the split time are in
    the test set. Raises :class:`TooFewRatings` if one side would be empty.
    """
    times = dataset.ratings.times
    split_time = int(times[int(len(times) * (1 - fraction))]) if len(times) else 0
    if not len(times) or split_time == times[0]:
        raise TooFewRatings(
            f"{len(times)} ratings at {len(np.unique(times))} distinct times cannot be split by time: "
            "more ratings, spread over time, are needed"
        )
    train = dataset.without_ratings(times >= split_time).watch_sessions_before(split_time)
    return Split(f"newest {fraction:.0%}", train, dataset.ratings.where(times >= split_time))


def split_at_time(dataset: Dataset, time: int) -> Split:
    """Hold out all ratings after ``time`` (microseconds since 1970); the test set may be empty."""
    later = dataset.ratings.times > time
    train = dataset.without_ratings(later).watch_sessions_before(time + 1)
    return Split("ratings since the serving model was trained", train, dataset.ratings.where(later))


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
