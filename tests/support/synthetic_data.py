"""Small worlds whose answers are known by construction."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from marquee.data.dataset import Dataset

SECOND = 1_000_000
DAY = 86_400 * SECOND


def frame(*rows: tuple[str, str, float, int]) -> pd.DataFrame:
    """A frame of (user_id, movie_id, value, time in microseconds)."""
    return pd.DataFrame(list(rows), columns=["user_id", "movie_id", "value", "time"]).astype(
        {"user_id": "object", "movie_id": "object", "value": "float64", "time": "int64"}
    )


def dataset(ratings: pd.DataFrame, watch_sessions: pd.DataFrame | None = None) -> Dataset:
    """A dataset on the scale 1 to 5."""
    return Dataset.of(ratings, frame() if watch_sessions is None else watch_sessions, 1.0, 5.0)


def checkerboard(n_users: int = 40, n_items: int = 40, hidden: float = 0.3, seed: int = 0) -> pd.DataFrame:
    """Users and items are each of two kinds, even and odd: 5 where the kinds agree, 1 where they differ.

    A share of the board is left out, at random. No bias explains anything: every mean is 3. Times follow one
    another in random order.
    """
    users, items = (axis.ravel() for axis in np.meshgrid(range(n_users), range(n_items), indexing="ij"))
    rng = np.random.default_rng(seed)
    shown = rng.permutation(len(users))[int(len(users) * hidden) :]
    rows = [
        (f"u{users[s]:03}", f"film+{items[s]:03}", float(board_value(users[s], items[s])), t * SECOND)
        for t, s in enumerate(shown)
    ]
    return frame(*rows)


def board_value(user: int, item: int) -> int:
    """What the checkerboard holds at a place, left out or not."""
    return 5 if (user + item) % 2 == 0 else 1


def blocks(
    n_blocks: int = 4, users: int = 25, items: int = 12, seen: float = 0.6, seed: int = 0
) -> pd.DataFrame:
    """Each block of users rates the items of its own block 5 and has seen a share of them, at random times.

    Of the other blocks' items everybody has seen a quarter as many, and rates them 1, as the one item
    ``bad+0000`` that all have seen. No bias tells the blocks apart, and all are equally popular.
    """
    rng = np.random.default_rng(seed)
    rows = []

    def rate(user: str, movie_id: str, rating: float) -> None:
        rows.append((user, movie_id, rating, int(rng.integers(1, 1000)) * SECOND))

    for mine in range(n_blocks):
        for number in range(users):
            user = f"u{mine}-{number:03}"
            rate(user, "bad+0000", 1.0)
            for block in range(n_blocks):
                fraction = seen if block == mine else seen / 4
                for item in np.flatnonzero(rng.random(items) < fraction):
                    rate(user, f"b{block}+{item:04}", 5.0 if block == mine else 1.0)
    return frame(*rows)


def written(directory: Path, ratings: pd.DataFrame) -> Path:
    directory.mkdir()
    table = ratings.rename(columns={"value": "rating"}).assign(time=ratings["time"] // SECOND)
    table.to_csv(directory / "ratings.csv", index=False)
    return directory


def rated(n_users: int, n_items: int, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers of the users and items of the pairs that are rated: a share of all, at random."""
    user, item = np.nonzero(np.random.default_rng(seed).random((n_users, n_items)) < fraction)
    return user, item


def halves(user: np.ndarray, item: np.ndarray) -> np.ndarray:
    """Two kinds of users, two kinds of items: each kind of user likes its own."""
    return np.where((user % 2) == (item % 2), 5.0, 1.0)
