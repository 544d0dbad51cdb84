"""The Bayesian SVD as a trainer: what ``trainer: bayesian_svd`` in ``params.yaml`` names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from marquee.data.dataset import Dataset, Interactions
from marquee.models import user_prior
from marquee.models.bpmf.fit import Budget, Fit, ModelShape, fit
from marquee.models.trainer_port import Floats, Progress, RatingFactors, read_section

SIDE_INFORMATION_RANK = 0.25
"""How much of what age, gender and so on say is believed of a user who has rated nothing. On five cuts in time of
MovieLens 100K before the newest slice, RMSE for their 448 new users: 1.0519 with all of it, 1.0471 with a quarter
(the paired difference within -.0094 and -.0004 at 95 %), 1.0469 with none; surprise's SVD 1.0506."""


class BpmfParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``factors`` of the sampler, ``served_rank`` of what is exported, ``feature_rank`` of the implicit feedback.

    ``sweeps``, of which the first ``burn_in`` are not counted; ``seconds``: stop after that long (then the result
    is not the same on every machine). ``checkpoint``: a file from which a run that was killed goes on.
    """

    factors: int = 31
    served_rank: int = 48
    feature_rank: int = 100
    sweeps: int = 200
    burn_in: int = 20
    seconds: float | None = None
    checkpoint: str | None = None


def train(dataset: Dataset, params: Mapping[str, Any], seed: int, progress: Progress) -> RatingFactors:
    """Sample, and export one set of factors for all samples."""
    chosen = read_section(params, BpmfParams, "bayesian_svd")
    ratings = dataset.ratings
    found = fit(
        ratings.users,
        ratings.items,
        ratings.values,
        (dataset.n_users, dataset.n_items),
        user_features=dataset.user_features,
        item_features=dataset.item_features,
        shape=ModelShape(chosen.factors, chosen.served_rank, chosen.feature_rank),
        budget=Budget(chosen.sweeps, chosen.burn_in, chosen.seconds),
        seed=seed,
        progress=lambda done, sweeps: progress("fit", done / sweeps),
        checkpoint_path=Path(chosen.checkpoint) if chosen.checkpoint else None,
    )
    return _head(found, dataset)


def _head(found: Fit, dataset: Dataset) -> RatingFactors:
    factors, ratings = found.factors, dataset.ratings
    rated = np.bincount(ratings.users, minlength=dataset.n_users) > 0
    user_vectors, user_biases = (
        factors.user_vectors.astype(np.float64),
        factors.user_biases.astype(np.float64),
    )
    item_vectors, item_biases = (
        factors.item_vectors.astype(np.float64),
        factors.item_biases.astype(np.float64),
    )
    residuals = ratings.values - found.mean - factors.predict(ratings.users, ratings.items)
    expected = user_prior.fit_user_prior(user_vectors[rated], user_biases[rated], residuals)
    level = _level_of_the_unknown(ratings, found.mean, expected.mean, item_vectors, item_biases)
    expected.mean[-1] += level
    user_vectors[~rated] = _doubted(user_vectors[~rated], expected.mean[:-1])
    user_biases[~rated] = _doubted(user_biases[~rated] + level, expected.mean[-1])
    return RatingFactors(found.mean, user_biases, user_vectors, item_biases, item_vectors, expected)


def _doubted(by_facts: Floats, average: Floats) -> Floats:
    """What the facts say of users who have rated nothing, drawn towards the average user."""
    return average + SIDE_INFORMATION_RANK * (by_facts - average)


def _level_of_the_unknown(
    ratings: Interactions, mean: float, user: Floats, item_vectors: Floats, item_biases: Floats
) -> float:
    """How much higher the average user's ratings would be if all had been his: stars.

    The users of an item are those whom it suits, and it suits the average user less than them. Of a user of
    whom nothing is known it is still known that he chose the item. Mean error for unknown users over five cuts in
    time of MovieLens 100K: -.04 without it, .03 with it; the worst of the five goes from -.13 to -.06.
    """
    of_item = mean + item_biases + item_vectors @ user[:-1] + user[-1]
    return float((ratings.values - of_item[ratings.items]).mean())
