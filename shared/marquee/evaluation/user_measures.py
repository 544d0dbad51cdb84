"""Results of a candidate for each user of a split: sums of errors, NDCG and lists."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from marquee.data.splits import Split
from marquee.evaluation import offline
from marquee.evaluation.baselines import Candidate

NDCG = "ndcg@10"
Floats = NDArray[np.float64]


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
    squared, _, counts = offline.errors_by_user(candidate, split.test)
    ranking = offline.rank(candidate, split)
    ndcg = offline.ranking_metrics(ranking)[NDCG]
    return UserMeasures(users, squared, counts, np.searchsorted(users, ranking.users), ndcg, ranking.recommended)
