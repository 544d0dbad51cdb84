"""Every film of every user with its weight, by the one rule that answering follows as well."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from marquee.artifacts.evidence import LIKED, film_weight
from marquee.training.dataset import Dataset


@dataclass(frozen=True, slots=True)
class Evidence:
    """One row for each (user, film) that was rated or watched, in order of user, then time, then item.

    ``ratings``: NaN where the film was only watched. ``weights``: how much the film says of the user's taste.
    ``times``: microseconds since 1970.
    """

    users: NDArray[np.int32]
    items: NDArray[np.int32]
    ratings: NDArray[np.float64]
    weights: NDArray[np.float64]
    times: NDArray[np.int64]


def gather(dataset: Dataset) -> Evidence:
    """All evidence there is. Where a film was both rated and watched only the rating speaks: who watched it
    to the end and gave it one star did not like it."""
    rated = dataset.ratings
    watched = dataset.viewings.where(~np.isin(dataset.pairs(dataset.viewings), dataset.pairs(rated)))
    low, high = dataset.rating_min, dataset.rating_max
    of_rated = _by_value(rated.values, lambda rating: film_weight(rating, None, low, high))
    of_watched = _by_value(watched.values, lambda minute: film_weight(None, int(minute), low, high))
    users = np.concatenate([rated.users, watched.users])
    items = np.concatenate([rated.items, watched.items])
    times = np.concatenate([rated.times, watched.times])
    ratings = np.concatenate([rated.values, np.full(len(watched), np.nan)])
    weights = np.concatenate([of_rated, of_watched])
    order = np.lexsort((items, times, users))
    return Evidence(users[order], items[order], ratings[order], weights[order], times[order])


def liked_from(dataset: Dataset) -> float:
    """The rating from which a film counts as liked."""
    return dataset.rating_min + LIKED * (dataset.rating_max - dataset.rating_min)


def _by_value(values: NDArray[np.float64], rule: Callable[[float], float]) -> NDArray[np.float64]:
    distinct, which = np.unique(values, return_inverse=True)
    return np.array([rule(value) for value in distinct.tolist()], np.float64)[which]
