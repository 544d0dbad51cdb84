"""Observations of each user metric: error, calibration, coverage, NDCG, popularity lift and miscalibration."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from benchmarks.fairness.fair_windows import Data, FairWindow, Floats, Ints, Labels, group_movies
from benchmarks.fairness.group_statistics import Observations
from marquee.evaluation import metrics
from marquee.evaluation.exposure import LENGTH

RMSE, BIAS, COVERAGE, NDCG = "RMSE", "mean error", "coverage", "NDCG@10"
LIFT, MISCALIBRATION = "popularity lift", "miscalibration"
SMOOTHING = 0.01
"""Part of the profile in the smoothed list of the miscalibration, so that it is finite (Steck, 2018)."""
Labeler = Callable[[Data, FairWindow, Ints], Labels]


def observe(data: Data, windows: Sequence[FairWindow], label: Labeler) -> dict[str, Observations]:
    """Return the observations of all metrics over ``windows``."""
    return observe_ratings(data, windows, [w.predicted for w in windows], label) | observe_lists(
        data, windows, [w.lists for w in windows], label
    )


def observe_ratings(
    data: Data, windows: Sequence[FairWindow], predicted: Sequence[Floats], label: Labeler
) -> dict[str, Observations]:
    """Return squared error, signed error and coverage of each test rating, for the ratings ``predicted`` by window."""
    users = np.concatenate([w.split.test.users for w in windows])
    errors = np.concatenate([p - w.split.test.values for p, w in zip(predicted, windows, strict=True)])
    labels = _join_labels([_label_ratings(data, window, label) for window in windows])
    ones = np.ones(len(users))
    covered = np.concatenate([w.covered for w in windows])
    return {
        RMSE: Observations(users, errors**2, ones, labels, root=True),
        BIAS: Observations(users, errors, ones, labels),
        COVERAGE: Observations(users, covered, ones, labels),
    }


def observe_lists(
    data: Data, windows: Sequence[FairWindow], lists: Sequence[Ints], label: Labeler
) -> dict[str, Observations]:
    """Return NDCG, popularity lift and miscalibration of each list of ``lists`` by window.

    The last two compare the list with the user's profile; users without a profile have counts of 0.
    """
    users = np.concatenate([w.ranked for w in windows])
    labels = _join_labels([label(data, window, window.ranked) for window in windows])
    ndcg = np.concatenate([rate_lists(w, one) for w, one in zip(windows, lists, strict=True)])
    listed, profile, divergence, has_profile = (
        np.concatenate(columns)
        for columns in zip(
            *(_compare_profiles(data, w, one) for w, one in zip(windows, lists, strict=True)), strict=True
        )
    )
    known = has_profile.astype(np.float64)
    return {
        NDCG: Observations(users, ndcg, np.ones(len(users)), labels),
        LIFT: Observations(users, (listed - profile) * known, profile * known, labels),
        MISCALIBRATION: Observations(users, divergence * known, known, labels),
    }


def rate_lists(window: FairWindow, lists: Ints) -> Floats:
    """Return the NDCG@10 of ``lists`` [m, at least 10] for the window's ranked users, as the evaluation does."""
    liked = liked_matrix(window)
    hits = np.take_along_axis(liked, lists[:, :LENGTH], axis=1)
    return metrics.ndcg(hits, liked.sum(1))


def liked_matrix(window: FairWindow) -> np.ndarray:
    """Return which items each ranked user likes in the test set, [m, n_items]."""
    split = window.split
    threshold = split.train.rating_min + 0.75 * (split.train.rating_max - split.train.rating_min)
    test = split.test.where(split.test.values >= threshold)
    liked = np.zeros((split.train.n_users, split.train.n_items), bool)
    liked[test.users, test.items] = True
    chosen: np.ndarray = liked[window.ranked]
    return chosen


def profile_matrix(window: FairWindow) -> np.ndarray:
    """Return which items each ranked user has rated before the window, [m, n_items]."""
    train = window.split.train
    rated = np.zeros((train.n_users, train.n_items), bool)
    rated[train.ratings.users, train.ratings.items] = True
    chosen: np.ndarray = rated[window.ranked]
    return chosen


def genre_shares(parts: Floats, chosen: np.ndarray) -> Floats:
    """Return the share of each genre in each row of ``chosen`` [m, n_items], [m, n_genres]; zeros for an empty row."""
    totals: Floats = chosen.astype(np.float64) @ parts.T
    shares: Floats = totals / np.maximum(totals.sum(1, keepdims=True), 1e-12)
    return shares


def divergence(profile: Floats, listed: Floats) -> Floats:
    """Return the miscalibration of each row: Kullback and Leibler's divergence of list from profile (Steck, 2018)."""
    smoothed = (1 - SMOOTHING) * listed + SMOOTHING * profile
    ratio = np.where(profile > 0, profile, 1.0) / np.where(profile > 0, smoothed, 1.0)
    rows: Floats = (profile * np.log(ratio)).sum(-1)
    return rows


def _compare_profiles(data: Data, window: FairWindow, lists: Ints) -> tuple[Floats, Floats, Floats, Floats]:
    """Return by list: mean popularity of its movies and of the profile's, the miscalibration, and if there is one."""
    train, profile = window.split.train, profile_matrix(window)
    popularity = np.bincount(train.ratings.items, minlength=train.n_items) / train.n_users
    sizes = profile.sum(1)
    genres = group_movies(data, window)["genre"].parts
    shown = np.zeros_like(profile)
    np.put_along_axis(shown, lists[:, :LENGTH], True, axis=1)
    return (
        popularity[lists[:, :LENGTH]].mean(1),
        (profile @ popularity) / np.maximum(sizes, 1),
        divergence(genre_shares(genres, profile), genre_shares(genres, shown)),
        (sizes > 0).astype(np.float64),
    )


def _label_ratings(data: Data, window: FairWindow, label: Labeler) -> Labels:
    """Return the group of the user of each test rating; each user is looked up once."""
    rows, index = np.unique(window.split.test.users, return_inverse=True)
    labels = label(data, window, rows)
    return {kind: [names[i] for i in index] for kind, names in labels.items()}


def _join_labels(parts: Sequence[Labels]) -> Labels:
    return {kind: [name for part in parts for name in part[kind]] for kind in parts[0]}
