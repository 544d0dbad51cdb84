"""How good a model is on ratings that it has not seen, beside the baselines, with intervals over users."""

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
from marquee.evaluation.bootstrap import Estimate, ratio_of_sums
from marquee.registry.manifest import ResidualInterval
from marquee.registry.trained_model import TrainedModel

CUTOFFS = (10, 20)
_USERS_AT_ONCE = 512
Floats = NDArray[np.float64]


class EvaluationParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``resamples`` of the bootstrap, and the share of them that an ``interval`` holds."""

    resamples: int
    interval: float


class Evaluation(msgspec.Struct, frozen=True):
    """Figures by name of candidate, then by name of metric: rmse, mae, ndcg@10, recall@20 ...

    ``split`` says how it was cut; ``ratings`` were predicted; ``known_users`` of the ``users`` asked about
    had ratings in the training part. ``prediction_intervals``: how far the model was off.
    """

    split: str
    ratings: int
    users: int
    known_users: int
    figures: dict[str, dict[str, Estimate]]
    prediction_intervals: tuple[ResidualInterval, ...] = ()


def evaluate(model: TrainedModel, split: Split, params: EvaluationParams, seed: int, data: str) -> Evaluation:
    """``model``, trained on ``split.train``, and the baselines on ``split.test``.

    ``data``: the SHA-256 of the dataset that was split. Ratings: every test rating. Ranking: users who like
    an item in the test (``artifacts.evidence.LIKED``); all items that they have not seen are ranked.
    """
    candidates = [model_candidate(model), popularity_baseline(model), bias_baseline(split.train)]
    asked = np.unique(split.test.users)
    return Evaluation(
        split.name,
        len(split.test),
        len(asked),
        int(np.isin(asked, split.train.ratings.users).sum()),
        {c.name: compute_metrics(c, split, params, seed, data) for c in candidates},
        prediction_intervals.calibrate(*errors_and_known(candidates[0], split)),
    )


def errors_and_known(candidate: Candidate, split: Split) -> tuple[Floats, NDArray[np.int64]]:
    """Of each test rating how much higher it is than predicted, and how many ratings of its user were known."""
    assert candidate.rate
    test = split.test
    known = np.bincount(split.train.ratings.users, minlength=split.train.n_users)[test.users]
    return test.values - candidate.rate(test.users, test.items), known


def compute_metrics(
    candidate: Candidate, split: Split, params: EvaluationParams, seed: int, data: str
) -> dict[str, Estimate]:
    """All figures of one candidate."""
    made: dict[str, Estimate] = {}

    def add(name: str, sums: Floats, counts: Floats, root: bool = False) -> None:
        made[name] = ratio_of_sums(
            sums,
            counts,
            resamples=params.resamples,
            interval=params.interval,
            seed=seed,
            data=data,
            root=root,
        )

    if candidate.rate:
        squared, absolute, counts = errors_by_user(candidate, split.test)
        add("rmse", squared, counts, root=True)
        add("mae", absolute, counts)
    if candidate.score:
        for name, values in ranking_by_user(candidate, split).items():
            add(name, values, np.ones(len(values)))
    return made


def errors_by_user(candidate: Candidate, test: Interactions) -> tuple[Floats, Floats, Floats]:
    """Sums of squared and of absolute errors, and the number of ratings, of each user in the test."""
    assert candidate.rate
    errors = candidate.rate(test.users, test.items) - test.values
    _, of_user, counts = np.unique(test.users, return_inverse=True, return_counts=True)
    squared, absolute = (
        np.bincount(of_user, weights=e).astype(np.float64) for e in (errors**2, np.abs(errors))
    )
    return squared, absolute, counts.astype(np.float64)


class Ranking(NamedTuple):
    """Of each user who likes an item of the test: his row, the items shown to him, best first, [n, 20], which
    of them he likes [n, 20], and how many items of the test he likes in all [n].
    """

    users: NDArray[np.int64]
    shown: NDArray[np.int64]
    hits: NDArray[np.bool_]
    relevant: NDArray[np.int64]


def ranking(candidate: Candidate, split: Split) -> Ranking:
    """What ``candidate`` would show to each user who likes an item of the test; items seen are left out."""
    assert candidate.score
    liked = split.test.where(split.test.values >= like_threshold(split.train))
    parts = []
    for users in _chunks(np.unique(liked.users)):
        relevant = _matrix(users, [liked], split.train)
        seen = _matrix(users, [split.train.ratings, split.train.watch_sessions], split.train)
        best = metrics.top(candidate.score(users), seen, max(CUTOFFS))
        parts.append((users, best, np.take_along_axis(relevant, best, axis=1), relevant.sum(1)))
    if not parts:
        shape = (0, max(CUTOFFS))
        return Ranking(np.empty(0, int), np.empty(shape, int), np.empty(shape, bool), np.empty(0, int))
    return Ranking(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def ranking_by_user(candidate: Candidate, split: Split) -> dict[str, Floats]:
    """NDCG and recall at each of :data:`CUTOFFS`, of each user who likes an item of the test."""
    return by_user(ranking(candidate, split))


def by_user(found: Ranking) -> dict[str, Floats]:
    """The same of rankings that were made already."""
    values = {}
    for k in CUTOFFS:
        values[f"ndcg@{k}"] = metrics.ndcg(found.hits[:, :k], found.relevant)
        values[f"recall@{k}"] = metrics.recall(found.hits[:, :k], found.relevant)
    return values


def _chunks(users: NDArray[np.int32]) -> Iterator[NDArray[np.int32]]:
    for start in range(0, len(users), _USERS_AT_ONCE):
        yield users[start : start + _USERS_AT_ONCE]


def _matrix(users: NDArray[np.int32], parts: Sequence[Interactions], dataset: Dataset) -> NDArray[np.bool_]:
    matrix = np.zeros((len(users), dataset.n_items), bool)
    for part in parts:
        rows = part.where(np.isin(part.users, users))
        matrix[np.searchsorted(users, rows.users), rows.items] = True
    return matrix
