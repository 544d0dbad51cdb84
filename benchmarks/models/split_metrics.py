"""Metrics and cost of one algorithm on one split, as plain arrays."""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from benchmarks.models.algorithms import Algorithm
from benchmarks.models.fitted_algorithms import FittedAlgorithm
from marquee.data.splits import Split
from marquee.evaluation import offline
from marquee.scoring.topk import top_n
from marquee.training.params import Params

Arrays = dict[str, NDArray[np.generic]]
Floats = NDArray[np.float64]

LIST_LENGTH = max(offline.CUTOFFS)
# Number of users whose answers are timed.
_TIMED_USERS = 200


def measure_split(algorithm: Algorithm, split: Split, params: Params) -> Arrays:
    """Fit and measure with one thread.

    - ``cpu_s``, ``answer_us``, ``memory_bytes``, ``storage_bytes``: one number each
    - if it predicts ratings, by user of the test: ``users``, the sums ``squared`` and ``absolute`` of the errors, and
      ``counts``
    - if it ranks, by user with a liked item: ``ranked_users``, each ranking metric, and ``recommended`` [n, 20]
    """
    with threadpool_limits(1, user_api="blas"):
        started = time.process_time()
        fitted = algorithm.fit(split.train, params)
        arrays: Arrays = {"cpu_s": np.array(time.process_time() - started)}
        arrays |= {name: np.array(getattr(fitted, name)) for name in ("memory_bytes", "storage_bytes")}
        arrays["answer_us"] = np.array(_median_answer_us(fitted, split))
        if fitted.candidate.rate:
            arrays |= _rating_errors(fitted, split)
        if fitted.candidate.score:
            arrays |= _rankings(fitted, split)
    return arrays


def _rating_errors(fitted: FittedAlgorithm, split: Split) -> Arrays:
    squared, absolute, counts = offline.errors_by_user(fitted.candidate, split.test)
    return {
        "users": np.unique(split.test.users),
        "squared": squared,
        "absolute": absolute,
        "counts": counts,
    }


def _rankings(fitted: FittedAlgorithm, split: Split) -> Arrays:
    ranking = offline.rank(fitted.candidate, split)
    return {
        "ranked_users": ranking.users,
        "recommended": ranking.recommended,
        "novelty": _self_information(split)[ranking.recommended].mean(axis=1),
        **offline.ranking_metrics(ranking),
    }


def _self_information(split: Split) -> Floats:
    """Return the self-information of each item, in bits: -log2 of the fraction of users who have rated it.

    Zhou et al., "Solving the apparent diversity-accuracy dilemma of recommender systems" (PNAS 2010).
    """
    ratings = split.train.ratings
    counts = np.maximum(np.bincount(ratings.items, minlength=split.train.n_items), 1)
    bits: Floats = -np.log2(counts / len(np.unique(ratings.users)))
    return bits


def _median_answer_us(fitted: FittedAlgorithm, split: Split) -> float:
    """Return the median time from a user's row to their list of 20 items, without reading the row and HTTP."""
    seconds = []
    ratings = split.train.ratings
    users = np.unique(ratings.users)
    for user in users[:: max(len(users) // _TIMED_USERS, 1)].tolist():
        seen = ratings.items[ratings.users == user]
        started = time.perf_counter()
        top_n(fitted.answer(user), LIST_LENGTH, seen)
        seconds.append(time.perf_counter() - started)
    return float(np.median(seconds)) * 1e6
