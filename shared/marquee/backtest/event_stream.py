"""Ratings and watch sessions merged in time order, and the training data before a cut."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from marquee.data.dataset import Dataset, Interactions
from marquee.data.interactions import like_threshold
from marquee.scoring.interaction_weights import TRIED_MINUTES

Ints = NDArray[np.int64]
_MICROSECONDS_PER_DAY = 86_400_000_000


@dataclass(frozen=True, slots=True)
class EventStream:
    """Events of ``dataset`` in order of time, then user, then item; a rating comes before a watch session.

    - ``users``, ``items``, ``times`` [n]: rows of the dataset; microseconds since 1970, UTC
    - ``values`` [n]: rating, or last minute watched
    - ``is_rating`` [n]; ``is_relevant`` [n]: liked or watched long enough that a list should contain the movie
    - ``position`` [n]: row in the dataset's ratings or watch sessions
    """

    dataset: Dataset
    users: Ints
    items: Ints
    times: Ints
    values: NDArray[np.float64]
    is_rating: NDArray[np.bool_]
    is_relevant: NDArray[np.bool_]
    position: Ints

    @classmethod
    def from_dataset(cls, dataset: Dataset) -> EventStream:
        """Merge the ratings and the watch sessions."""
        parts = (dataset.ratings, dataset.watch_sessions)
        users, items, times, values = (
            np.concatenate([getattr(part, name) for part in parts]) for name in ("users", "items", "times", "values")
        )
        n_ratings = len(dataset.ratings)
        is_rating = np.arange(len(users)) < n_ratings
        order = np.lexsort((~is_rating, items, users, times))
        is_relevant = np.where(is_rating, values >= like_threshold(dataset), values >= TRIED_MINUTES)
        position = np.where(is_rating, np.arange(len(users)), np.arange(len(users)) - n_ratings)
        return cls(
            dataset,
            users[order].astype(np.int64),
            items[order].astype(np.int64),
            times[order],
            values[order],
            is_rating[order],
            is_relevant[order],
            position[order],
        )

    def __len__(self) -> int:
        return len(self.users)

    def dataset_before(self, row: int, catalog: Collection[str] = ()) -> Dataset:
        """Return the training data of a retraining before event ``row``.

        It has the users and movies with earlier events, and the movies of ``catalog`` even without events.
        """
        before = np.arange(len(self)) < row
        users = np.unique(self.users[before])
        is_listed = np.isin(np.array(self.dataset.movie_ids, dtype=object), list(catalog))
        items = np.union1d(np.unique(self.items[before]), np.flatnonzero(is_listed))
        content = self.dataset.content_features
        rows = {kind: np.sort(self.position[before & (self.is_rating == kind)]) for kind in (True, False)}
        return replace(
            self.dataset,
            user_ids=[self.dataset.user_ids[user] for user in users],
            movie_ids=[self.dataset.movie_ids[item] for item in items],
            ratings=_select(self.dataset.ratings, rows[True], users, items),
            watch_sessions=_select(self.dataset.watch_sessions, rows[False], users, items),
            user_features=tuple(block[users] for block in self.dataset.user_features),
            item_features=tuple(block[items] for block in self.dataset.item_features),
            content_features=None if content is None else content[items],
        )

    def count_known_ratings(self) -> Ints:
        """Return the number of earlier ratings of the user of each event, [n]."""
        return _count_earlier(self.users, self.is_rating)

    def movie_age_days(self) -> NDArray[np.float64]:
        """Return the time since the first event of the movie of each event, in days, [n]."""
        _, first, inverse = np.unique(self.items, return_index=True, return_inverse=True)
        ages: NDArray[np.float64] = (self.times - self.times[first][inverse]) / _MICROSECONDS_PER_DAY
        return ages


def _select(part: Interactions, rows: Ints, users: Ints, items: Ints) -> Interactions:
    """Return ``rows`` of ``part``, renumbered to positions in ``users`` and ``items``."""
    return Interactions(
        np.searchsorted(users, part.users[rows]).astype(np.int32),
        np.searchsorted(items, part.items[rows]).astype(np.int32),
        part.values[rows],
        part.times[rows],
    )


def _count_earlier(users: Ints, counted: NDArray[np.bool_]) -> Ints:
    order = np.argsort(users, kind="stable")
    before: Ints = np.cumsum(counted[order]) - counted[order]
    starts = np.flatnonzero(np.r_[True, np.diff(users[order]) != 0]) if len(users) else np.empty(0, int)
    lengths = np.diff(np.r_[starts, len(users)])
    counts = np.empty(len(users), np.int64)
    counts[order] = before - np.repeat(before[starts], lengths)
    return counts
