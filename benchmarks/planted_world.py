"""Synthetic ratings with planted structure: a long tail, clusters of taste, and drift of popularity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from marquee.data.dataset import Dataset, Interactions
from marquee.data.splits import Split

_DAY = 86_400_000_000
_DAYS = 720
_PERIODS = 36
_TASTES = 6  # Clusters that a user prefers.


@dataclass(frozen=True, slots=True)
class World:
    """Size and structure of a synthetic data set.

    - ``clusters``: of items; a user prefers six of them
    - ``taste``: fraction of a user's choices that come from these clusters, the rest follow popularity alone
    - ``trend``: rate at which an item's popularity falls, in 1 / year after its release; 0 for constant popularity
    - ``activity_sd``: standard deviation of the logarithm of a user's number of ratings
    """

    n_users: int
    n_items: int
    n_ratings: int
    clusters: int = 100
    taste: float = 0.7
    trend: float = 0.5
    activity_sd: float = 1.0


class _Items(NamedTuple):
    """Items in the order of their clusters: cluster ``c`` has rows ``starts[c]:starts[c + 1]``."""

    popularity: NDArray[np.float64]
    release: NDArray[np.float64]  # in days
    quality: NDArray[np.float64]
    starts: NDArray[np.int64]


def planted_dataset(world: World, seed: int = 0) -> Dataset:
    """Return a dataset of about ``world.n_ratings`` ratings; each pair occurs once."""
    rng = np.random.default_rng(seed)
    items = _draw_items(world, rng)
    tastes = rng.integers(0, world.clusters, (world.n_users, _TASTES)).astype(np.int32)
    users, times = _draw_visits(world, rng)
    chosen, liked = _choose_items(world, items, tastes, users, times, rng)
    rows = _distinct_pairs(users, chosen, world.n_items)
    users, chosen, times, liked = users[rows], chosen[rows], times[rows], liked[rows]
    values = _rate(items, chosen, liked, rng)
    shuffled = rng.permutation(world.n_items).astype(np.int32)  # Row numbers must not reveal cluster or popularity.
    microseconds = (times * _DAY).astype(np.int64)
    order = np.argsort(microseconds, kind="stable")
    ratings = Interactions(users[order], shuffled[chosen[order]], values[order], microseconds[order])
    nothing = ratings.where(np.zeros(len(ratings), bool))
    user_ids, movie_ids = (
        [f"{kind}{number:07}" for number in range(n)] for kind, n in (("u", world.n_users), ("m", world.n_items))
    )
    return Dataset(user_ids, movie_ids, ratings, nothing, 1.0, 5.0)


def sample_holdout(dataset: Dataset, n_users: int, fraction: float = 0.2, seed: int = 0) -> Split:
    """Hold out the newest ``fraction`` of the ratings of ``n_users`` random users, and no others."""
    rng = np.random.default_rng(seed)
    chosen = np.zeros(dataset.n_users, bool)
    chosen[rng.choice(dataset.n_users, min(n_users, dataset.n_users), replace=False)] = True
    users = dataset.ratings.users
    rows = np.flatnonzero(chosen[users])
    rows = rows[np.argsort(users[rows], kind="stable")]
    counts = np.bincount(users[rows], minlength=dataset.n_users)
    ends = np.cumsum(counts)
    position = np.arange(len(rows)) - np.repeat(ends - counts, counts)
    held_out = np.zeros(len(users), bool)
    held_out[rows[position >= np.repeat(np.ceil(counts * (1 - fraction)), counts)]] = True
    return Split(
        f"last {fraction:.0%} of {n_users} users", dataset.without_ratings(held_out), dataset.ratings.where(held_out)
    )


def _draw_items(world: World, rng: np.random.Generator) -> _Items:
    ranks = rng.permutation(world.n_items)
    popularity = 1 / (ranks + 20.0) ** 1.05
    sizes = rng.multinomial(world.n_items - world.clusters, rng.dirichlet(np.full(world.clusters, 3.0))) + 1
    release = np.where(rng.random(world.n_items) < 0.5, 0.0, rng.uniform(0, _DAYS, world.n_items))
    release = release if world.trend else np.zeros(world.n_items)
    starts = np.concatenate([[0], np.cumsum(sizes)])
    return _Items(popularity, release, rng.normal(0, 0.4, world.n_items), starts)


def _draw_visits(world: World, rng: np.random.Generator) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Return user and time in days of each rating: a user arrives at some time, and rates for three months."""
    activity = rng.lognormal(0, world.activity_sd, world.n_users)
    counts = np.maximum(1, np.round(activity / activity.sum() * world.n_ratings * 1.15)).astype(np.int64)
    users = np.repeat(np.arange(world.n_users, dtype=np.int32), counts)
    arrival = rng.uniform(-90, _DAYS, world.n_users)
    times = np.abs(arrival[users] + rng.exponential(45, len(users)))
    # Users who arrive near the end have less time, and no rating precedes the arrival.
    return users, np.where(times < _DAYS, times, rng.uniform(np.maximum(arrival[users], 0), _DAYS))


def _choose_items(
    world: World,
    items: _Items,
    tastes: NDArray[np.int32],
    users: NDArray[np.int32],
    times: NDArray[np.float64],
    rng: np.random.Generator,
) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """Return the item of each rating, and whether the user chose it for its cluster."""
    chosen = np.empty(len(users), np.int32)
    liked = rng.random(len(users)) < world.taste
    period = np.minimum((times * (_PERIODS / _DAYS)).astype(np.int64), _PERIODS - 1)
    for number in range(_PERIODS):
        rows = np.flatnonzero(period == number)
        age = (number + 1) * (_DAYS / _PERIODS) - items.release
        weights = np.where(age > 0, items.popularity * np.exp(-world.trend * np.maximum(age, 0) / 365), 0.0)
        ends = np.concatenate([[0.0], np.cumsum(weights)])
        cluster = tastes[users[rows], rng.integers(0, _TASTES, len(rows))]
        low = np.where(liked[rows], ends[items.starts[cluster]], 0.0)
        high = np.where(liked[rows], ends[items.starts[cluster + 1]], ends[-1])
        position = low + rng.random(len(rows)) * (high - low)
        chosen[rows] = np.minimum(np.searchsorted(ends, position, side="right") - 1, world.n_items - 1)
    return chosen, liked


def _distinct_pairs(users: NDArray[np.int32], items: NDArray[np.int32], n_items: int) -> NDArray[np.int64]:
    """Return the rows of one entry of each pair."""
    rows: NDArray[np.int64] = np.unique(users.astype(np.int64) * n_items + items, return_index=True)[1]
    return rows


def _rate(
    items: _Items, chosen: NDArray[np.int32], liked: NDArray[np.bool_], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Return ratings of 1 to 5: higher for an item that was chosen for its cluster."""
    raw = 3.1 + 0.9 * liked + items.quality[chosen] + rng.normal(0, 0.8, len(chosen))
    values: NDArray[np.float64] = np.clip(np.round(raw), 1, 5)
    return values
