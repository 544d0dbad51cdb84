"""What is learnt from and what is asked about: by time for everybody, by time for each, or at random."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np

from marquee.errors import TrainingDataError
from marquee.data.dataset import Dataset, Interactions


@dataclass(frozen=True, slots=True)
class Split:
    """``train`` knows nothing of ``test``; both number users and items alike."""

    name: str
    train: Dataset
    test: Interactions


def temporal_holdout(dataset: Dataset, fraction: float) -> Split:
    """The newest ``fraction`` of the ratings against all that came before, cut at one moment for everybody.

    Every rating of the test is later than all that is learnt from, watch sessions included; ratings of the
    moment of the cut are in the test. Raises :class:`TrainingDataError` when one side would be empty.
    """
    times = dataset.ratings.times
    cut = int(times[int(len(times) * (1 - fraction))]) if len(times) else 0
    if not len(times) or cut == times[0]:
        raise TrainingDataError(
            f"{len(times)} ratings at {len(np.unique(times))} moments cannot be cut in time: "
            "more ratings, spread over time, are needed"
        )
    train = dataset.without_ratings(times >= cut).watch_sessions_before(cut)
    return Split(f"newest {fraction:.0%}", train, dataset.ratings.where(times >= cut))


def split_at_time(dataset: Dataset, time: int) -> Split:
    """What came after ``time`` (microseconds since 1970) against all up to it; the test may be empty."""
    later = dataset.ratings.times > time
    train = dataset.without_ratings(later).watch_sessions_before(time + 1)
    return Split("ratings since the serving model was trained", train, dataset.ratings.where(later))


def to_microseconds(time: datetime) -> int:
    """Since 1970, UTC, exactly: ``timestamp()`` would round."""
    return (time - datetime.fromtimestamp(0, UTC)) // timedelta(microseconds=1)


def per_user_holdout(dataset: Dataset, fraction: float) -> Split:
    """Each user's latest ``fraction`` (rounded down) against his earlier ones."""
    ratings = dataset.ratings
    order = np.argsort(ratings.users, kind="stable")  # The rows are in order of time already.
    counts = np.bincount(ratings.users, minlength=dataset.n_users)
    rank = np.arange(len(ratings)) - np.repeat(np.cumsum(counts) - counts, counts)
    held_out = np.zeros(len(ratings), bool)
    held_out[order] = rank >= np.repeat(counts - np.floor(counts * fraction), counts)
    return Split(
        f"each user's last {fraction:.0%}", dataset.without_ratings(held_out), ratings.where(held_out)
    )


def k_folds(dataset: Dataset, n_folds: int, seed: int) -> Iterator[Split]:
    """``n_folds`` random folds; each rating is in the test of exactly one."""
    shuffled = np.random.default_rng(seed).permutation(len(dataset.ratings))
    for number, rows in enumerate(np.array_split(shuffled, n_folds)):
        held_out = np.zeros(len(dataset.ratings), bool)
        held_out[rows] = True
        test = dataset.ratings.where(held_out)
        yield Split(f"fold {number + 1} of {n_folds}", dataset.without_ratings(held_out), test)
