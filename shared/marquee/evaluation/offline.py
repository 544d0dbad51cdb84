"""Offline evaluation: accuracy and ranking metrics on held-out ratings, with intervals over users."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from marquee.data.dataset import Dataset, Interactions
from marquee.data.interactions import like_threshold
from marquee.data.splits import Split
from marquee.evaluation import metrics, prediction_intervals
from marquee.evaluation.baselines import Candidate, bias_baseline, model_candidate, popularity_baseline
from marquee.evaluation.bootstrap import EvaluationParams, ratio_of_sums
from marquee.registry.manifest import Metric, ResidualInterval
from marquee.registry.trained_model import TrainedModel

CUTOFFS = (10, 20)
_USER_CHUNK = 512
Floats = NDArray[np.float64]


class OfflineEvaluation(msgspec.Struct, frozen=True, kw_only=True):
    """Metrics of a model and the baselines on one split.

    - ``ratings``: predicted ratings, of ``users``; ``known_users`` of them have ratings in the training set
    - ``ranked_users``: users with a liked item in the test set, over whom ranking metrics are averaged
    - ``seed`` of the bootstrap; ``data``: SHA-256 of the dataset that was split
    - ``metrics``: by candidate, then by name: rmse, mae, ndcg@10, recall@20 ...
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


def evaluate(
    model: TrainedModel, split: Split, params: EvaluationParams, seed: int, data: str
) -> OfflineEvaluation:
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


def compute_metrics(
    candidate: Candidate, split: Split, params: EvaluationParams, seed: int
) -> dict[str, Metric]:
    """Return all metrics of one candidate, by name."""
    computed: dict[str, Metric] = {}
    if candidate.rate:
        squared, absolute, counts = errors_by_user(candidate, split.test)
        computed["rmse"] = ratio_of_sums(squared, counts, params, seed, root=True)
        computed["mae"] = ratio_of_sums(absolute, counts, params, seed)
    if candidate.score:
        for name, values in ranking_by_user(candidate, split).items():
            computed[name] = ratio_of_sums(values, np.ones(len(values)), params, seed)
    return computed


def residuals(candidate: Candidate, split: Split) -> tuple[Floats, NDArray[np.int64]]:
    """Return, for each test rating, rating - prediction and the number of training ratings of its user."""
    assert candidate.rate
    test = split.test
    known = np.bincount(split.train.ratings.users, minlength=split.train.n_users)[test.users]
    return test.values - candidate.rate(test.users, test.items), known


def errors_by_user(candidate: Candidate, test: Interactions) -> tuple[Floats, Floats, Floats]:
    """Return the sums of squared and absolute errors and the number of ratings of each user in the test set."""
    assert candidate.rate
    errors = candidate.rate(test.users, test.items) - test.values
    _, user_index, counts = np.unique(test.users, return_inverse=True, return_counts=True)
    squared, absolute = (
        np.bincount(user_index, weights=e).astype(np.float64) for e in (errors**2, np.abs(errors))
    )
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
    """Return the candidate's lists, without seen items, for the users with a liked item in the test set."""
    assert candidate.score
    liked = _liked(split)
    parts = []
    for users in _chunks(np.unique(liked.users)):
        relevant = _pair_matrix(users, [liked], split.train)
        seen = _pair_matrix(users, [split.train.ratings, split.train.watch_sessions], split.train)
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


def _liked(split: Split) -> Interactions:
    return split.test.where(split.test.values >= like_threshold(split.train))


def _chunks(users: NDArray[np.int32]) -> Iterator[NDArray[np.int32]]:
    for start in range(0, len(users), _USER_CHUNK):
        yield users[start : start + _USER_CHUNK]


def _pair_matrix(
    users: NDArray[np.int32], parts: Sequence[Interactions], dataset: Dataset
) -> NDArray[np.bool_]:
    """Return [len(users), n_items], true for the pairs in any of ``parts``. ``users`` is sorted."""
    matrix = np.zeros((len(users), dataset.n_items), bool)
    for part in parts:
        rows = part.where(np.isin(part.users, users))
        matrix[np.searchsorted(users, rows.users), rows.items] = True
    return matrix
