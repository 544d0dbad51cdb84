"""Simulated poisoning attacks: fake accounts that try to change the rank of a movie.

A profile rates a target, and popular filler movies that make the account similar to many users (bandwagon attack:
Mobasher et al., *Toward Trustworthy Recommender Systems*, ACM TOIT 2007). A flood is one account that rates the target
and as many other movies as possible.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from marquee.data.dataset import Dataset, Interactions
from marquee.data.interactions import WeightedInteractions
from marquee.models.popularity import fit_popularity
from marquee.models.ranker_port import load_ranker
from marquee.monitoring.account_anomalies import (
    LEVELS,
    MovieRatings,
    MovieWatches,
    find_targets,
    find_watched_targets,
    level_bounds,
)
from marquee.monitoring.suspect_accounts import WINDOW
from marquee.scoring.topk import top_n
from marquee.training.params import Params

PUSH, NUKE = "push", "nuke"
FAKE = "fake-"
SHOWN = 20
"""Number of positions of a list that count as shown."""
_HOUR_US = 3_600_000_000
_LAST_MINUTE = 90.0
WINDOW_US = WINDOW // timedelta(microseconds=1)
"""Age up to which an account counts as new, as in :mod:`marquee.monitoring.suspect_accounts`."""

Ints = NDArray[np.int64]


class Attack(NamedTuple):
    """Attack by ``accounts`` fake users, who rate item ``target`` and ``fillers`` popular movies.

    The target gets the highest rating (push) or the lowest (nuke). ``step`` moves it toward the middle of the scale, to
    look less extreme. With ``watched`` the accounts watch all movies to the end and rate none.
    """

    kind: str
    accounts: int
    target: int
    fillers: int = 30
    step: float = 0.0
    watched: bool = False


class Reach(NamedTuple):
    """Share of the users without the target in their history who get it in their list, and its median rank."""

    shown: float
    rank: float


def add_attack(dataset: Dataset, attack: Attack, seed: int) -> Dataset:
    """Return the dataset with the ratings of the fake accounts added, within an hour after the newest rating."""
    rng = np.random.default_rng([seed, attack.target, attack.accounts])
    counts = np.bincount(dataset.ratings.items, minlength=dataset.n_items).astype(float)
    counts[attack.target] = 0
    popularity = counts / counts.sum()
    n_fillers = min(attack.fillers, int(np.count_nonzero(popularity)))
    items = np.array(
        [
            [attack.target, *rng.choice(dataset.n_items, n_fillers, replace=False, p=popularity)]
            for _ in range(attack.accounts)
        ],
        np.int32,
    )
    high, low = dataset.rating_max, dataset.rating_min
    values = np.full(items.shape, high)
    values[:, 0] = low + attack.step if attack.kind == NUKE else high - attack.step
    users = np.repeat(np.arange(attack.accounts, dtype=np.int32) + dataset.n_users, items.shape[1])
    begin = int(dataset.ratings.times.max()) + 1
    times = begin + np.sort(rng.integers(0, _HOUR_US, len(users)))
    added = Interactions(users, items.ravel(), values.ravel(), times)
    if attack.watched:
        added = replace(added, values=np.full(len(users), _LAST_MINUTE))
    ids = [*dataset.user_ids, *(f"{FAKE}{number:06}" for number in range(attack.accounts))]
    features = tuple(
        np.concatenate([block, np.zeros((attack.accounts, block.shape[1]), block.dtype)])
        for block in dataset.user_features
    )
    attacked = replace(dataset, user_ids=ids, user_features=features)
    if attack.watched:
        return replace(attacked, watch_sessions=_join(dataset.watch_sessions, added))
    return replace(attacked, ratings=_join(dataset.ratings, added))


def find_suspects(dataset: Dataset) -> list[str]:
    """Return the ids of new accounts that the monitor's checks report for the last week of ``dataset``."""
    return [dataset.user_ids[user] for user in sorted(_find_raters(dataset) | _find_watchers(dataset))]


def _find_watchers(dataset: Dataset) -> set[int]:
    """Return the rows of suspects by watches. Who rates a movie has watched it, also where sessions are unknown."""
    watched = _join(dataset.ratings, dataset.watch_sessions)
    begin = int(watched.times.max()) - WINDOW_US
    first = np.full(dataset.n_users, np.iinfo(np.int64).max)
    np.minimum.at(first, watched.users, watched.times)
    is_new, is_recent = first[watched.users] >= begin, watched.times >= begin
    parts = (is_new, ~is_new & is_recent, ~is_new & ~is_recent)
    counts = (np.bincount(watched.items[rows], minlength=dataset.n_items).tolist() for rows in parts)
    movies = [MovieWatches(str(item), *numbers) for item, numbers in enumerate(zip(*counts, strict=True))]
    targets = [int(target.movie_id) for target in find_watched_targets(movies)]
    return set(watched.users[is_new & np.isin(watched.items, targets)].tolist())


def _find_raters(dataset: Dataset) -> set[int]:
    ratings = dataset.ratings
    begin = int(ratings.times.max()) - WINDOW_US
    first = np.full(dataset.n_users, np.iinfo(np.int64).max)
    np.minimum.at(first, ratings.users, ratings.times)
    is_new = first[ratings.users] >= begin
    low, high = dataset.rating_min, dataset.rating_max
    of_level = {}
    for level in LEVELS:
        least, greatest = level_bounds(level, low, high)
        of_level[level] = (ratings.values >= least) & (ratings.values <= greatest)

    def count(rows: NDArray[np.bool_]) -> list[int]:
        counts: list[int] = np.bincount(ratings.items[rows], minlength=dataset.n_items).tolist()
        return counts

    new, old = count(is_new), count(~is_new)
    new_levels = zip(*(count(is_new & of_level[level]) for level in LEVELS), strict=True)
    old_levels = zip(*(count(~is_new & of_level[level]) for level in LEVELS), strict=True)
    movies = list(map(MovieRatings, dataset.movie_ids, new, new_levels, old, old_levels))
    row_by_movie = {movie_id: row for row, movie_id in enumerate(dataset.movie_ids)}
    found = set[int]()
    for target in find_targets(movies):
        rows = is_new & of_level[target.level] & (ratings.items == row_by_movie[target.movie_id])
        found |= set(ratings.users[rows].tolist())
    return found


def without_users(dataset: Dataset, suspects: Sequence[str]) -> Dataset:
    """Return the dataset without the events of ``suspects``; their ids stay as rows without events."""
    rows = {user_id: row for row, user_id in enumerate(dataset.user_ids)}
    removed = np.array([rows[user_id] for user_id in suspects if user_id in rows], np.int64)
    ratings, watched = dataset.ratings, dataset.watch_sessions
    return replace(
        dataset,
        ratings=ratings.where(~np.isin(ratings.users, removed)),
        watch_sessions=watched.where(~np.isin(watched.users, removed)),
    )


def measure_reach(dataset: Dataset, honest: int, target: int, params: Params) -> Reach:
    """Fit the served ranker on ``dataset``, and rank ``target`` for those of the first ``honest`` users without it."""
    interactions = WeightedInteractions.from_dataset(dataset)
    popular = fit_popularity(interactions, dataset.n_items, params.popularity)
    section = params.rankers[params.ranker]
    shape = dataset.n_users, dataset.n_items
    factors = load_ranker(params.ranker)(interactions, shape, popular, section, params.seed)
    rows = interactions.users < honest
    history = np.zeros((honest, dataset.n_items))
    history[interactions.users[rows], interactions.items[rows]] = interactions.weights[rows]
    users = np.flatnonzero((history[:, target] == 0) & (history.sum(1) > 0))
    scores = (history[users] @ factors.rank_history) @ factors.rank_items.T
    scores[history[users] > 0] = -np.inf
    ranks = 1 + (scores > scores[:, [target]]).sum(1)
    return Reach(float((ranks <= SHOWN).mean()), float(np.median(ranks)))


def choose_targets(dataset: Dataset, kind: str, n: int, seed: int) -> list[int]:
    """Return ``n`` items for attacks of ``kind``: rarely rated ones for a push, the most rated ones for a nuke."""
    counts = np.bincount(dataset.ratings.items, minlength=dataset.n_items)
    if kind == NUKE:
        return [int(item) for item in top_n(counts.astype(np.float32), n)]
    low, high = np.quantile(counts[counts > 0], [0.3, 0.6])
    rare = np.flatnonzero((counts >= max(low, 1)) & (counts <= high))
    chosen = np.random.default_rng(seed).choice(rare, min(n, len(rare)), replace=False)
    return sorted(int(item) for item in chosen)


def _join(first: Interactions, second: Interactions) -> Interactions:
    """Return both parts as one; every row of ``second`` is later than those of ``first``."""
    return Interactions(
        np.concatenate([first.users, second.users]),
        np.concatenate([first.items, second.items]),
        np.concatenate([first.values, second.values]),
        np.concatenate([first.times, second.times]),
    )
