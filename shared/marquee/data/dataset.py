"""What users rated and watched, as columns of row numbers beside the ids that they stand for."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from marquee.data.side_information import Blocks, SideInformation

Rows = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Interactions:
    """One row for each (user, item), in order of time, then user, then item.

    ``values``: ratings, or the last minute watched. ``times``: microseconds since 1970, UTC.
    """

    users: NDArray[np.int32]
    items: NDArray[np.int32]
    values: NDArray[np.float64]
    times: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.users)

    def where(self, rows: Rows) -> Interactions:
        """The rows for which ``rows`` is true, in their order."""
        return Interactions(self.users[rows], self.items[rows], self.values[rows], self.times[rows])


@dataclass(frozen=True, slots=True)
class Dataset:
    """Everything a trainer learns from. ``user_ids[u]`` and ``movie_ids[i]`` are what row numbers stand for.

    Not every id need have a rating: a split keeps the ids of the whole.
    """

    user_ids: Sequence[str]
    movie_ids: Sequence[str]
    ratings: Interactions
    watch_sessions: Interactions
    rating_min: float
    rating_max: float
    user_features: Blocks = ()  # each [n_users, values]; zeros where nothing is known
    item_features: Blocks = ()  # each [n_items, values]

    @classmethod
    def of(
        cls,
        ratings: pd.DataFrame,
        watch_sessions: pd.DataFrame,
        rating_min: float,
        rating_max: float,
        facts: SideInformation | None = None,
    ) -> Dataset:
        """From checked frames of user_id, movie_id, value, time; the ids come sorted as text."""
        user_ids = sorted({*ratings["user_id"], *watch_sessions["user_id"]})
        movie_ids = sorted({*ratings["movie_id"], *watch_sessions["movie_id"]})
        rated = _interactions(ratings, user_ids, movie_ids)
        watched = _interactions(watch_sessions, user_ids, movie_ids)
        known = facts or SideInformation()
        return cls(
            user_ids,
            movie_ids,
            rated,
            watched,
            rating_min,
            rating_max,
            known.user_blocks(user_ids),
            known.item_blocks(movie_ids),
        )

    @property
    def n_users(self) -> int:
        """The number of users, with ratings or without."""
        return len(self.user_ids)

    @property
    def n_items(self) -> int:
        """The number of items, with ratings or without."""
        return len(self.movie_ids)

    def without_ratings(self, held_out: Rows) -> Dataset:
        """The same without those ratings, and without any watch session of a pair that is held out.

        A watch session grows while an item is watched: that of a held-out pair may know of what came later.
        """
        pair = self.pairs(self.watch_sessions)
        kept = ~np.isin(pair, self.pairs(self.ratings)[held_out])
        return replace(self, ratings=self.ratings.where(~held_out), watch_sessions=self.watch_sessions.where(kept))

    def watch_sessions_before(self, time: int) -> Dataset:
        """The same with only the watch sessions that began before ``time`` (microseconds since 1970)."""
        return replace(self, watch_sessions=self.watch_sessions.where(self.watch_sessions.times < time))

    def sha256(self) -> str:
        """A digest of every id, number and time: equal data have equal digests on any machine."""
        digest = hashlib.sha256()
        digest.update("\n".join((*self.user_ids, "", *self.movie_ids)).encode())
        for part in (self.ratings, self.watch_sessions):
            for column in (part.users, part.items, part.values, part.times):
                digest.update(column.astype(column.dtype.newbyteorder("<")).tobytes())
        for block in (*self.user_features, *self.item_features):
            digest.update(block.astype("<f8").tobytes())
        digest.update(f"{self.rating_min:g} {self.rating_max:g}".encode())
        return digest.hexdigest()

    def pairs(self, part: Interactions) -> NDArray[np.int64]:
        """One number for each (user, item), the same in every part of this dataset."""
        return part.users.astype(np.int64) * self.n_items + part.items


def _interactions(frame: pd.DataFrame, user_ids: Sequence[str], movie_ids: Sequence[str]) -> Interactions:
    users = pd.Index(user_ids).get_indexer(pd.Index(frame["user_id"])).astype(np.int32)
    items = pd.Index(movie_ids).get_indexer(pd.Index(frame["movie_id"])).astype(np.int32)
    times = frame["time"].to_numpy(np.int64)
    order = np.lexsort((items, users, times))
    values = frame["value"].to_numpy(np.float64)
    return Interactions(users[order], items[order], values[order], times[order])
