"""Train/test splits at one time for all users."""

from __future__ import annotations

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
