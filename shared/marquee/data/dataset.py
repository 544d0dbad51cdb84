"""Training data: ratings and watch sessions as arrays of row numbers, with the ids of the rows."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from marquee.data import interaction_frames
from marquee.data.content_features import encode_content
from marquee.data.side_information import USER_ATTRIBUTES, Blocks, SideInformation

Rows = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Interactions:
    """One row for each (user, item), ordered by time, then user, then item.

    ``values``: ratings, or the last minute watched. ``times``: microseconds since 1970, UTC.
    """

    users: NDArray[np.int32]
    items: NDArray[np.int32]
    values: NDArray[np.float64]
    times: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.users)

    def where(self, rows: Rows) -> Interactions:
        """Return the rows for which the mask ``rows`` is true, in order."""
        return Interactions(self.users[rows], self.items[rows], self.values[rows], self.times[rows])


@dataclass(frozen=True, slots=True)
class Dataset:
    """Training data of a model. ``user_ids[u]`` and ``movie_ids[i]`` are the ids of the rows.

    An id may be without ratings, because a split keeps the ids of the full dataset.
    """

    user_ids: Sequence[str]
    movie_ids: Sequence[str]
    ratings: Interactions
    watch_sessions: Interactions
    rating_min: float
    rating_max: float
    user_features: Blocks = ()  # each [n_users, values]; zeros where unknown
    item_features: Blocks = ()  # each [n_items, values]
    content_features: NDArray[np.float64] | None = None  # [n_items, values], of the metadata; None: nothing is known

    @classmethod
    def from_frames(
        cls,
        ratings: pd.DataFrame,
        watch_sessions: pd.DataFrame,
        rating_min: float,
        rating_max: float,
        side_information: SideInformation | None = None,
        user_attributes: Sequence[str] = USER_ATTRIBUTES,
    ) -> Dataset:
        """Build from checked frames of user_id, movie_id, value, time. Ids are sorted as text.

        Only ``user_attributes`` of the users' side information become features. A movie with metadata is an item even
        if no one has rated or watched it.
        """
        user_ids, movie_ids = (
            interaction_frames.distinct_ids([ratings, watch_sessions], name) for name in interaction_frames.IDS
        )
        side_information = side_information or SideInformation()
        movie_ids = sorted({*movie_ids, *side_information.described_movies()})
        content = encode_content(movie_ids, side_information.movies)
        return cls(
            user_ids,
            movie_ids,
            _to_interactions(ratings, user_ids, movie_ids),
            _to_interactions(watch_sessions, user_ids, movie_ids),
            rating_min,
            rating_max,
            side_information.user_blocks(user_ids, user_attributes),
            side_information.item_blocks(movie_ids),
            content if content.any() else None,
        )

    @property
    def n_users(self) -> int:
        """Number of users, with or without ratings."""
        return len(self.user_ids)

    @property
    def n_items(self) -> int:
        """Number of items, with or without ratings."""
        return len(self.movie_ids)

    def without_ratings(self, held_out: Rows) -> Dataset:
        """Return the dataset without the ratings ``held_out`` and without the watch sessions of their pairs.

        The watch session of a held-out pair can contain later events, because it grows while the item is watched.
        """
        pairs = self.pairs(self.watch_sessions)
        remaining = ~np.isin(pairs, self.pairs(self.ratings)[held_out])
        return replace(
            self,
            ratings=self.ratings.where(~held_out),
            watch_sessions=self.watch_sessions.where(remaining),
        )

    def watch_sessions_before(self, time: int) -> Dataset:
        """Return the dataset with only the watch sessions that began before ``time`` (microseconds since 1970)."""
        return replace(self, watch_sessions=self.watch_sessions.where(self.watch_sessions.times < time))

    def sha256(self) -> str:
        """Return a digest of all ids, numbers and times; equal data have equal digests on any machine.

        The content features are excluded, because the metadata file that they derive from has its own digest.
        """
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
        """Return one number for each (user, item), the same in all parts of this dataset."""
        return part.users.astype(np.int64) * self.n_items + part.items


def _to_interactions(frame: pd.DataFrame, user_ids: Sequence[str], movie_ids: Sequence[str]) -> Interactions:
    users, items = (
        interaction_frames.row_numbers(interaction_frames.id_column(frame, name), ids)
        for name, ids in zip(interaction_frames.IDS, (user_ids, movie_ids), strict=True)
    )
    times = frame["time"].to_numpy(np.int64)
    order = np.lexsort((items, users, times))
    values = frame["value"].to_numpy(np.float64)
    return Interactions(users[order], items[order], values[order], times[order])
