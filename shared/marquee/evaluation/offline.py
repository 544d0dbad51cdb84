"""Offline evaluation: accuracy and ranking metrics on held-out ratings, with intervals over users."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from marquee.data.dataset import Dataset, Interactions
from marquee.data.interactions import like_threshold
from marquee.data.splits import Split
from marquee.evaluation import exposure, metrics, movie_groups, prediction_intervals
from marquee.evaluation.baselines import Candidate, bias_baseline, model_candidate, popularity_baseline
from marquee.evaluation.bootstrap import EvaluationParams, ratio_of_sums
from marquee.registry.manifest import Metric, ResidualInterval
from marquee.registry.trained_model import TrainedModel

CUTOFFS = (10, 20)
# Maximum of users ranked at once, and of cells of an array [users, n_items] (32 MB of float64).
_USER_CHUNK, _CHUNK_CELLS = 512, 1 << 22
# Ratings predicted at once, each with the vectors of its user and its item.
_RATING_CHUNK = 1 << 16
Floats = NDArray[np.float64]


class OfflineEvaluation(msgspec.Struct, frozen=True, kw_only=True):
    """Metrics of a model and the baselines on one split.

    - ``ratings``: predicted ratings, of ``users``; ``known_users`` of them have ratings in the training set
    - ``ranked_users``: users with a liked item in the test set, over whom ranking metrics are averaged
    - ``seed`` of the bootstrap; ``data``: SHA-256 of the dataset that was split
    - ``metrics``: by candidate, then by name: rmse, mae, ndcg@10, recall@20, exposure_gini@10 ...
    - ``prediction_intervals``: calibrated on the model's errors
    """

    split: str
    ratings: int
    users: int
    known_users: int
    ranked_users: int
    seed: int
    data: str
    metrics: dict[str, dict[str, Metric]]
    prediction_intervals: tuple[ResidualInterval, ...] = ()


def evaluate(model: TrainedModel, split: Split, params: EvaluationParams, seed: int, data: str) -> OfflineEvaluation:
    """Evaluate ``model``, fitted on ``split.train``, and the baselines on ``split.test``.

    ``data`` is the SHA-256 of the dataset that was split. Accuracy metrics cover every test rating. Ranking metrics
    cover users with a liked item in the test set (``LIKED_FRACTION`` of :mod:`marquee.scoring.interaction_weights`);
    all items that they have not seen are ranked.
    """
    candidates = [model_candidate(model), popularity_baseline(model), bias_baseline(split.train)]
    users = np.unique(split.test.users)
    return OfflineEvaluation(
        split=split.name,
        ratings=len(split.test),
        users=len(users),
        known_users=int(np.isin(users, split.train.ratings.users).sum()),
        ranked_users=len(np.unique(_liked(split).users)),
        seed=seed,
        data=data,
        metrics={c.name: compute_metrics(c, split, params, seed) for c in candidates},
        prediction_intervals=prediction_intervals.calibrate(*residuals(candidates[0], split)),
    )


def compute_metrics(candidate: Candidate, split: Split, params: EvaluationParams, seed: int) -> dict[str, Metric]:
    """Return all metrics of one candidate, by name."""
    computed: dict[str, Metric] = {}
    if candidate.rate:
        squared, absolute, counts = errors_by_user(candidate, split.test)
        computed["rmse"] = ratio_of_sums(squared, counts, params, seed, root=True)
        computed["mae"] = ratio_of_sums(absolute, counts, params, seed)
    if candidate.score:
        ranking = rank(candidate, split)
        for name, values in ranking_metrics(ranking).items():
            computed[name] = ratio_of_sums(values, np.ones(len(values)), params, seed)
        computed |= _exposure_metrics(ranking, split, params, seed)
    return computed


def _exposure_metrics(ranking: Ranking, split: Split, params: EvaluationParams, seed: int) -> dict[str, Metric]:
    """Return how unequal the exposure of the items is, and the fraction of it that the least popular ones get."""
    train = split.train
    tail = movie_groups.group_by_popularity(np.bincount(train.ratings.items, minlength=train.n_items))
    lists = ranking.recommended[:, : exposure.LENGTH]
    discounts = exposure.position_discounts(lists.shape[1])
    in_tail = tail.parts[tail.names.index(movie_groups.TAIL)][lists] @ discounts
    return {
        f"exposure_gini@{exposure.LENGTH}": exposure.exposure_gini(lists, train.n_items, params, seed),
        f"tail_exposure@{exposure.LENGTH}": ratio_of_sums(in_tail, np.full(len(lists), discounts.sum()), params, seed),
    }


def residuals(candidate: Candidate, split: Split) -> tuple[Floats, NDArray[np.int64]]:
    """Return, for each test rating, rating - prediction and the number of training ratings of its user."""
    test = split.test
    known = np.bincount(split.train.ratings.users, minlength=split.train.n_users)[test.users]
    return test.values - predict(candidate, test), known


def predict(candidate: Candidate, test: Interactions) -> Floats:
    """Return the candidate's rating of each pair in ``test``, computed in chunks."""
    assert candidate.rate
    ratings = np.empty(len(test))
    for start in range(0, len(test), _RATING_CHUNK):
        rows = slice(start, start + _RATING_CHUNK)
        ratings[rows] = candidate.rate(test.users[rows], test.items[rows])
    return ratings


def errors_by_user(candidate: Candidate, test: Interactions) -> tuple[Floats, Floats, Floats]:
    """Return the sums of squared and absolute errors and the number of ratings of each user in the test set."""
    errors = predict(candidate, test) - test.values
    _, user_index, counts = np.unique(test.users, return_inverse=True, return_counts=True)
    squared, absolute = (np.bincount(user_index, weights=e).astype(np.float64) for e in (errors**2, np.abs(errors)))
    return squared, absolute, counts.astype(np.float64)


class Ranking(NamedTuple):
    """Lists of the n users with a liked item in the test set.

    - ``users`` [n]: their rows
    - ``recommended`` [n, 20]: items, best first
    - ``hits`` [n, 20]: true where the user likes the item
    - ``n_relevant`` [n]: number of liked items in the test set
    """

    users: NDArray[np.int64]
    recommended: NDArray[np.int64]
    hits: NDArray[np.bool_]
    n_relevant: NDArray[np.int64]


def rank(candidate: Candidate, split: Split) -> Ranking:
    """Return the candidate's lists for the users with a liked item in the test set, without items that they have seen.

    The users are ranked in chunks, whose arrays [users, n_items] have at most ``_CHUNK_CELLS`` cells.
    """
    assert candidate.score
    train, liked = split.train, _liked(split)
    liked_pairs = _pair_matrix(train, liked)
    seen_pairs = _pair_matrix(train, train.ratings, train.watch_sessions)
    parts = []
    for users in _chunks(np.unique(liked.users), train.n_items):
        relevant, seen = liked_pairs[users].toarray(), seen_pairs[users].toarray()
        best = metrics.top_unseen(candidate.score(users), seen, max(CUTOFFS))
        parts.append((users, best, np.take_along_axis(relevant, best, axis=1), relevant.sum(1)))
    if not parts:
        shape = (0, max(CUTOFFS))
        return Ranking(np.empty(0, int), np.empty(shape, int), np.empty(shape, bool), np.empty(0, int))
    return Ranking(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def ranking_metrics(ranking: Ranking) -> dict[str, Floats]:
    """Return NDCG and recall at each of :data:`CUTOFFS`, one value a user."""
    values = {}
    for k in CUTOFFS:
        values[f"ndcg@{k}"] = metrics.ndcg(ranking.hits[:, :k], ranking.n_relevant)
        values[f"recall@{k}"] = metrics.recall(ranking.hits[:, :k], ranking.n_relevant)
    return values


def ranking_by_user(candidate: Candidate, split: Split) -> dict[str, Floats]:
    """Return the :func:`ranking_metrics` of the candidate's lists."""
    return ranking_metrics(rank(candidate, split))


@dataclass(frozen=True, slots=True)
class UserMeasures:
    """Results for the n users with test ratings, of whom m have a liked item in the test set.

    - ``users`` [n]: their rows
    - ``squared`` [n], ``counts`` [n]: sum of squared errors, and number of ratings
    - ``ranked`` [m]: index in ``users`` of those with a list
    - ``ndcg`` [m]: NDCG@10
    - ``lists`` [m, 20]: recommended items, best first
    """

    users: NDArray[np.integer]
    squared: Floats
    counts: Floats
    ranked: NDArray[np.integer]
    ndcg: Floats
    lists: NDArray[np.integer]


def measure_users(candidate: Candidate, split: Split) -> UserMeasures:
    """Predict the test ratings and rank the items for each user of the test set."""
    users = np.unique(split.test.users)
    squared, _, counts = errors_by_user(candidate, split.test)
    ranking = rank(candidate, split)
    ndcg = ranking_metrics(ranking)["ndcg@10"]
    return UserMeasures(users, squared, counts, np.searchsorted(users, ranking.users), ndcg, ranking.recommended)


def _liked(split: Split) -> Interactions:
    return split.test.where(split.test.values >= like_threshold(split.train))


def _chunks(users: NDArray[np.int32], n_items: int) -> Iterator[NDArray[np.int32]]:
    size = max(1, min(_USER_CHUNK, _CHUNK_CELLS // max(1, n_items)))
    for start in range(0, len(users), size):
        yield users[start : start + size]


def _pair_matrix(dataset: Dataset, *parts: Interactions) -> csr_array:
    """Return a sparse array [n_users, n_items], true for the pairs in any of ``parts``."""
    users, items = (np.concatenate([getattr(part, axis) for part in parts]) for axis in ("users", "items"))
    return csr_array((np.ones(len(users), bool), (users, items)), shape=(dataset.n_users, dataset.n_items))
