"""Small datasets whose answers are known by construction."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from marquee.data.dataset import Dataset

SECOND = 1_000_000
DAY = 86_400 * SECOND


def frame(*rows: tuple[str, str, float, int]) -> pd.DataFrame:
    """Return a frame of (user_id, movie_id, value, time in microseconds)."""
    return pd.DataFrame(list(rows), columns=["user_id", "movie_id", "value", "time"]).astype(
        {"user_id": "object", "movie_id": "object", "value": "float64", "time": "int64"}
    )


def dataset(ratings: pd.DataFrame, watch_sessions: pd.DataFrame | None = None) -> Dataset:
    """Return a dataset on the scale 1 to 5."""
    return Dataset.from_frames(ratings, frame() if watch_sessions is None else watch_sessions, 1.0, 5.0)


def checkerboard(n_users: int = 40, n_items: int = 40, hidden: float = 0.3, seed: int = 0) -> pd.DataFrame:
    """Return ratings of users and items of two kinds, even and odd: 5 where the kinds agree, else 1.

    The fraction ``hidden`` of the pairs is left out at random. Every mean is 3, so that biases explain nothing. Times
    are in random order.
    """
    users, items = (axis.ravel() for axis in np.meshgrid(range(n_users), range(n_items), indexing="ij"))
    rng = np.random.default_rng(seed)
    shown = rng.permutation(len(users))[int(len(users) * hidden) :]
    rows = [
        (f"u{users[s]:03}", f"film+{items[s]:03}", float(checkerboard_rating(users[s], items[s])), t * SECOND)
        for t, s in enumerate(shown)
    ]
    return frame(*rows)


def checkerboard_rating(user: int, item: int) -> int:
    """Return the rating of the checkerboard for a pair, hidden or not."""
    return 5 if (user + item) % 2 == 0 else 1


def blocks(n_blocks: int = 4, users: int = 25, items: int = 12, seen: float = 0.6, seed: int = 0) -> pd.DataFrame:
    """Return ratings of blocks of users who rate the items of their own block 5, at random times.

    A user has seen the fraction ``seen`` of their own block. Of each other block they have seen a quarter of that, and
    rate it 1, like the item ``bad+0000`` that all have seen. Biases do not tell the blocks apart, and all blocks are
    equally popular.
    """
    rng = np.random.default_rng(seed)
    rows = []

    def rate(user: str, movie_id: str, rating: float) -> None:
        rows.append((user, movie_id, rating, int(rng.integers(1, 1000)) * SECOND))

    for own_block in range(n_blocks):
        for number in range(users):
            user = f"u{own_block}-{number:03}"
            rate(user, "bad+0000", 1.0)
            for block in range(n_blocks):
                fraction = seen if block == own_block else seen / 4
                for item in np.flatnonzero(rng.random(items) < fraction):
                    rate(user, f"b{block}+{item:04}", 5.0 if block == own_block else 1.0)
    return frame(*rows)


def write_base(directory: Path, ratings: pd.DataFrame) -> Path:
    """Write ``ratings`` as base data to a new ``directory``, and return it."""
    directory.mkdir()
    table = ratings.rename(columns={"value": "rating"}).assign(time=ratings["time"] // SECOND)
    table.to_csv(directory / "ratings.csv", index=False)
    return directory


def sample_pairs(n_users: int, n_items: int, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the user and item rows of a random ``fraction`` of all pairs, ordered by user, then item."""
    user, item = np.nonzero(np.random.default_rng(seed).random((n_users, n_items)) < fraction)
    return user, item


def two_group_ratings(user: np.ndarray, item: np.ndarray) -> np.ndarray:
    """Return the rating of each pair: 5 where user and item are of the same kind, even or odd, else 1."""
    return np.where((user % 2) == (item % 2), 5.0, 1.0)
