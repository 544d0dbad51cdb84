"""Weighted interactions: every item of every user, with the weights that the serving path uses too."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from marquee.data.dataset import Dataset
from marquee.scoring.interaction_weights import LIKED_FRACTION, TRIED_MINUTES, interaction_weight, interpolate

# The ranker's target: how right it would be to recommend the item to this user. Like the weights, except that an
# item that was disliked, or left early, should not be recommended at all.
_TARGET_BY_RATING = (0.0, 0.0, 0.3, 1.0, 1.1)
_TARGET_WATCHED = 0.5


@dataclass(frozen=True, slots=True)
class WeightedInteractions:
    """One row for each (user, item) that was rated or watched, ordered by user, then time, then item.

    - ``ratings``: NaN where the item was only watched
    - ``weights``: how informative the item is of the user's preferences
    - ``targets``: how good a recommendation the item would have been
    - ``times``: microseconds since 1970, UTC
    """

    users: NDArray[np.int32]
    items: NDArray[np.int32]
    ratings: NDArray[np.float64]
    weights: NDArray[np.float64]
    targets: NDArray[np.float64]
    times: NDArray[np.int64]

    @classmethod
    def from_dataset(cls, dataset: Dataset) -> WeightedInteractions:
        """Weigh all ratings and watch sessions of ``dataset``.

        A rating replaces the watch session of the same pair: a user who watched to the end and gave one star did
        not like the item.
        """
        rated = dataset.ratings
        watch_sessions = dataset.watch_sessions
        watched = watch_sessions.where(~np.isin(dataset.pairs(watch_sessions), dataset.pairs(rated)))
        low, high = dataset.rating_min, dataset.rating_max
        columns = (
            (rated.users, watched.users),
            (rated.items, watched.items),
            (rated.values, np.full(len(watched), np.nan)),
            (
                _map_values(rated.values, lambda rating: interaction_weight(rating, None, low, high)),
                _map_values(watched.values, lambda minute: interaction_weight(None, int(minute), low, high)),
            ),
            (
                _map_values(rated.values, lambda rating: interpolate(_TARGET_BY_RATING, rating, low, high)),
                np.where(watched.values >= TRIED_MINUTES, _TARGET_WATCHED, 0.0),
            ),
            (rated.times, watched.times),
        )
        users, items, *rest = (np.concatenate(pair) for pair in columns)
        order = np.lexsort((items, rest[-1], users))
        return cls(users[order], items[order], *(column[order] for column in rest))


def like_threshold(dataset: Dataset) -> float:
    """Return the lowest rating that counts as a like."""
    return dataset.rating_min + LIKED_FRACTION * (dataset.rating_max - dataset.rating_min)


def _map_values(values: NDArray[np.float64], function: Callable[[float], float]) -> NDArray[np.float64]:
    """Apply ``function`` to each distinct value once."""
    distinct, index = np.unique(values, return_inverse=True)
    return np.array([function(value) for value in distinct.tolist()], np.float64)[index]
