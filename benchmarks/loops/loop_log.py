"""Log of the ratings and watch sessions of simulated users, from which training data are made."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from benchmarks.loops.loop_world import DAY_US, Ints, LoopWorld
from marquee.data.dataset import Dataset, Interactions

START = datetime(2026, 1, 1, tzinfo=UTC)
RATING_MIN, RATING_MAX = 1.0, 5.0
_EPOCH_US = int(START.timestamp()) * 1_000_000
_RATED = 0.5  # Share of the movies begun that the user rates.
_TO_THE_END, _LEFT_EARLY = 95.0, 8.0  # Minutes.


def day_time(day: int) -> datetime:
    """Return the beginning of a simulated day."""
    return START + timedelta(days=day)


class LoopLog:
    """All movies begun so far; ``seen`` [users, movies] is true for the movies that a user has begun."""

    def __init__(self, world: LoopWorld) -> None:
        self._world = world
        self.seen = np.zeros((world.size.users, world.size.movies), np.bool_)
        self._rows: list[tuple[Ints, Ints, NDArray[np.float64], NDArray[np.float64], Ints]] = []

    def add(self, users: Ints, items: Ints, day: int, odds: NDArray[np.float64]) -> None:
        """Add the movies ``items`` [n] that ``users`` [n] began on ``day``.

        ``odds`` [n] is the probability that each movie suits its user. The rating is a function of seed, user, movie
        and odds, so a movie gets the same rating in every variant if the user's taste is the same.
        """
        noise = self._noise(users, items)
        liking = np.log(odds / (1 - odds))
        ratings = np.clip(np.round(3.7 + 0.7 * liking + 0.8 * noise[0]), RATING_MIN, RATING_MAX)
        ratings[noise[1] > _RATED] = np.nan
        minutes = np.where(liking + noise[0] > -1.5, _TO_THE_END, _LEFT_EARLY)
        times = _EPOCH_US + day * DAY_US + (noise[2] * DAY_US).astype(np.int64)
        self.seen[users, items] = True
        self._rows.append((users, items, ratings, minutes, times))

    def _noise(self, users: Ints, items: Ints) -> tuple[NDArray[np.float64], ...]:
        """Return one normal and two uniform random numbers for each pair, [n] each, independent of earlier draws."""
        keys = (users * self._world.size.movies + items).astype(np.uint64)
        salt = np.uint64(self._world.seed * 4)
        first, second, third, fourth = (_hash(keys, salt + np.uint64(stream)) for stream in range(4))
        return np.sqrt(-2 * np.log(first)) * np.cos(2 * np.pi * second), third, fourth

    def to_dataset(self) -> Dataset:
        """Return the log as training data. The catalog also holds movies without events."""
        users, items, ratings, minutes, times = (np.concatenate(column) for column in zip(*self._rows, strict=True))
        is_rated = ~np.isnan(ratings)
        return Dataset(
            [f"{user}" for user in range(self._world.size.users)],
            [movie_id(item) for item in range(self._world.size.movies)],
            _order(users[is_rated], items[is_rated], ratings[is_rated], times[is_rated]),
            _order(users, items, minutes, times),
            RATING_MIN,
            RATING_MAX,
        )


def movie_id(item: int) -> str:
    """Return the movie id of row ``item``."""
    return f"movie-{item:05}+2026"


def _order(users: Ints, items: Ints, values: NDArray[np.float64], times: Ints) -> Interactions:
    order = np.lexsort((items, users, times))
    return Interactions(
        users[order].astype(np.int32), items[order].astype(np.int32), values[order], times[order].astype(np.int64)
    )


def _hash(keys: NDArray[np.uint64], salt: np.uint64) -> NDArray[np.float64]:
    """Return a uniform number in (0, 1) for each of ``keys`` [n], by hashing with SplitMix64."""
    with np.errstate(over="ignore"):
        z = (keys * np.uint64(4) + salt + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    uniform: NDArray[np.float64] = ((z >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
    return uniform
