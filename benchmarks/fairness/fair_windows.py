"""Predictions and lists of a trained variant on each temporal window, and the groups of users and movies."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.models.backtest_windows import WINDOW_STARTS, split_window
from marquee.data.dataset import Dataset
from marquee.data.side_information import SideInformation, split_genres
from marquee.data.splits import Split
from marquee.evaluation import movie_groups, offline, prediction_intervals, user_groups
from marquee.evaluation.baselines import model_candidate, popularity_baseline
from marquee.evaluation.movie_groups import MovieGroups
from marquee.registry.trained_model import TrainedModel
from marquee.training.params import Params
from marquee.training.train_model import train_model

Floats = NDArray[np.float64]
Ints = NDArray[np.integer]
Labels = dict[str, list[str]]
POPULARITY, GENRE, DECADE = "popularity", "genre", "decade"
Prepare = Callable[[Dataset], Dataset]


@dataclass(frozen=True, slots=True)
class FairWindow:
    """One variant on one window of n ratings and m users with a liked item.

    - ``predicted`` [n]: predicted ratings; ``covered`` [n]: the 80 % interval, calibrated on the previous window,
      contains the rating
    - ``ranked`` [m]: user rows; ``scores`` [m, n_items]: scores, -inf for items that the user has seen
    - ``lists`` [m, 20], ``ndcg`` [m]; ``popular_ndcg`` [m]: of the list that is the same for all users
    """

    split: Split
    predicted: Floats
    covered: Floats
    known: Ints
    ranked: Ints
    scores: Floats
    lists: Ints
    ndcg: Floats
    popular_ndcg: Floats


@dataclass(frozen=True, slots=True)
class Data:
    """The dataset, its side information, and the parameters of training."""

    dataset: Dataset
    side: SideInformation
    params: Params

    def user_attributes(self) -> list[Mapping[str, str]]:
        """Return the attributes of each user row."""
        return [self.side.users.get(user_id, {}) for user_id in self.dataset.user_ids]

    def movie_attributes(self) -> list[Mapping[str, str]]:
        """Return the attributes of each item row."""
        return [self.side.movies.get(movie_id, {}) for movie_id in self.dataset.movie_ids]


def measure_variant(data: Data, prepare: Prepare, progress: Callable[[float], None]) -> list[FairWindow]:
    """Train on the data before each window, modified by ``prepare``, and measure the window.

    The first window only calibrates the intervals of the next, and is included.
    """
    windows: list[FairWindow] = []
    for number, start in enumerate(WINDOW_STARTS):
        progress(number / len(WINDOW_STARTS))
        split = split_window(data.dataset, start)
        model = train_model(prepare(split.train), data.params)
        windows.append(_measure(model, split, windows[-1] if windows else None))
    progress(1.0)
    return windows


def _measure(model: TrainedModel, split: Split, previous: FairWindow | None) -> FairWindow:
    candidate = model_candidate(model)
    assert candidate.score
    errors, known = offline.residuals(candidate, split)
    ranking = offline.rank(candidate, split)
    scores = np.asarray(candidate.score(ranking.users.astype(np.int32)), np.float64).copy()
    seen = np.zeros((split.train.n_users, split.train.n_items), bool)
    for part in (split.train.ratings, split.train.watch_sessions):
        seen[part.users, part.items] = True
    scores[seen[ranking.users]] = -np.inf
    covered = np.full(len(errors), np.nan)
    if previous is not None:
        before = previous.split.test.values - previous.predicted
        intervals = prediction_intervals.calibrate(before, previous.known)
        covered = prediction_intervals.is_covered(intervals, errors, known).astype(np.float64)
    ndcg = offline.ranking_metrics(ranking)["ndcg@10"]
    predicted = split.test.values - errors
    popular = offline.ranking_by_user(popularity_baseline(model), split)["ndcg@10"]
    return FairWindow(split, predicted, covered, known, ranking.users, scores, ranking.recommended, ndcg, popular)


def label_users(data: Data, window: FairWindow, rows: Ints) -> Labels:
    """Return the groups of the users ``rows`` [n], as they were before the window, by kind of group."""
    attributes = data.user_attributes()
    counts = np.bincount(window.split.train.ratings.users, minlength=window.split.train.n_users)
    chosen, activity = [attributes[row] for row in rows], counts[rows].tolist()
    labels = user_groups.label_users(chosen, activity)
    labels[user_groups.OCCUPATION] = [row.get("occupation") or user_groups.UNKNOWN for row in chosen]
    labels[user_groups.TENURE] = ["known" if n else "new" for n in activity]
    return labels


def label_intersections(data: Data, window: FairWindow, rows: Ints) -> Labels:
    """Return the groups at the intersection of two kinds; ages in three bands, so that enough users are in each."""
    labels, attributes = label_users(data, window, rows), data.user_attributes()
    ages = [_wide_age(attributes[row].get("age", "")) for row in rows]
    gender, tenure = labels[user_groups.GENDER], labels[user_groups.TENURE]
    return {
        "gender and age": _join(gender, ages),
        "gender and new or known": _join(gender, tenure),
        "age and new or known": _join(ages, tenure),
        "gender and occupation": _join(gender, labels[user_groups.OCCUPATION]),
    }


def group_movies(data: Data, window: FairWindow) -> dict[str, MovieGroups]:
    """Return the groups of movies by kind; popularity is that before the window."""
    movies, train = data.movie_attributes(), window.split.train
    return {
        POPULARITY: movie_groups.group_by_popularity(np.bincount(train.ratings.items, minlength=train.n_items)),
        GENRE: group_by_genre(movies),
        DECADE: group_by_decade(movies),
    }


def _wide_age(age: str) -> str:
    if not age.isdecimal():
        return user_groups.UNKNOWN
    return "under 25" if int(age) < 25 else "25-44" if int(age) < 45 else "45 and over"


def _join(first: Sequence[str], second: Sequence[str]) -> list[str]:
    return [f"{one}, {other}" for one, other in zip(first, second, strict=True)]


def group_by_genre(movies: Sequence[Mapping[str, str]]) -> MovieGroups:
    """Return the groups by genre. ``movies`` [n_items] holds the side information of each item."""
    return movie_groups.group_by_names([split_genres(row.get("genres", "")) for row in movies])


def group_by_decade(movies: Sequence[Mapping[str, str]]) -> MovieGroups:
    """Return the groups by decade of the release year; the few movies before 1950 are one group."""
    return movie_groups.group_by_names([_decade(row.get("year", "")) for row in movies])


def _decade(year: str) -> list[str]:
    if not year.isdecimal():
        return []
    return ["before 1950"] if int(year) < 1950 else [f"{int(year) // 10 * 10}s"]
