"""Every item of every user with its weight, by the one rule that answering follows as well."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from marquee.scoring.interaction_weights import LIKED_FRACTION, TRIED_MINUTES, interpolate, interaction_weight
from marquee.data.dataset import Dataset

# How much an item should be recommended to whom it is known to suit: the ranking head's targets. As the
# weights, but an item that was not liked, or left early, should not be recommended at all.
_TARGET_BY_RATING = (0.0, 0.0, 0.3, 1.0, 1.1)
_TARGET_WATCHED = 0.5


@dataclass(frozen=True, slots=True)
class WeightedInteractions:
    """One row for each (user, item) that was rated or watched, in order of user, then time, then item.

    ``ratings``: NaN where the item was only watched. ``weights``: how much the item says of the user's taste;
    ``targets``: how right it would have been to recommend it. ``times``: microseconds since 1970.
    """

    users: NDArray[np.int32]
    items: NDArray[np.int32]
    ratings: NDArray[np.float64]
    weights: NDArray[np.float64]
    targets: NDArray[np.float64]
    times: NDArray[np.int64]


def weigh_interactions(dataset: Dataset) -> WeightedInteractions:
    """All evidence there is. Where an item was both rated and watched only the rating speaks: who watched it
    to the end and gave it one star did not like it."""
    rated = dataset.ratings
    watched = dataset.watch_sessions.where(~np.isin(dataset.pairs(dataset.watch_sessions), dataset.pairs(rated)))
    low, high = dataset.rating_min, dataset.rating_max
    columns = (
        (rated.users, watched.users),
        (rated.items, watched.items),
        (rated.values, np.full(len(watched), np.nan)),
        (
            _by_value(rated.values, lambda rating: interaction_weight(rating, None, low, high)),
            _by_value(watched.values, lambda minute: interaction_weight(None, int(minute), low, high)),
        ),
        (
            _by_value(rated.values, lambda rating: interpolate(_TARGET_BY_RATING, rating, low, high)),
            np.where(watched.values >= TRIED_MINUTES, _TARGET_WATCHED, 0.0),
        ),
        (rated.times, watched.times),
    )
    users, items, *rest = (np.concatenate(pair) for pair in columns)
    order = np.lexsort((items, rest[-1], users))
    return WeightedInteractions(users[order], items[order], *(column[order] for column in rest))


def like_threshold(dataset: Dataset) -> float:
    """The rating from which an item counts as liked."""
    return dataset.rating_min + LIKED_FRACTION * (dataset.rating_max - dataset.rating_min)


def _by_value(values: NDArray[np.float64], rule: Callable[[float], float]) -> NDArray[np.float64]:
    distinct, which = np.unique(values, return_inverse=True)
    return np.array([rule(value) for value in distinct.tolist()], np.float64)[which]
