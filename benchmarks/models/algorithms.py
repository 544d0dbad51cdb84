"""Compared algorithms by name, in the order of the tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.models import fitted_algorithms
from benchmarks.models.fitted_algorithms import Fit, Section
from marquee.models import surprise_svd
from marquee.models.bpmf import trainer as bpmf
from marquee.training.params import Params

SERVED_RATING, SERVED_RANKING = "BPMF", "EASE ranker"
POPULARITY, BIAS_ONLY, REFERENCE = "popularity", "bias only", "surprise SVD, tuned"
EASE, LARGE_BPMF = "EASE", "BPMF, large"

_SURPRISE_DEFAULTS = {"n_factors": 100, "n_epochs": 20, "learning_rate": 0.005, "regularisation": 0.02}
_LARGE = {"factors": 31, "served_rank": 64, "feature_rank": 100, "sweeps": 400, "burn_in": 20}


@dataclass(frozen=True, slots=True)
class Algorithm:
    """A compared algorithm. ``note`` describes it to a reader who has not seen the code."""

    fit: Fit
    note: str


def _from_params(name: str) -> Section:
    return lambda params: params.trainers[name]


def _constant(values: Mapping[str, Any]) -> Section:
    def section(_: Params) -> Mapping[str, Any]:
        return values

    return section


ALGORITHMS = {
    POPULARITY: Algorithm(fitted_algorithms.fit_recent_popularity, "recent popularity; the same list for all users"),
    BIAS_ONLY: Algorithm(fitted_algorithms.fit_bias_only, "mean + user bias + item bias, without interaction"),
    "surprise SVD": Algorithm(
        fitted_algorithms.with_trainer(surprise_svd.fit, _constant(_SURPRISE_DEFAULTS)),
        "scikit-surprise with its defaults: 100 factors, 20 epochs",
    ),
    REFERENCE: Algorithm(
        fitted_algorithms.with_trainer(surprise_svd.fit, _from_params("surprise_svd")),
        "scikit-surprise with the parameters of `params.yaml`",
    ),
    "surprise SVD++": Algorithm(
        fitted_algorithms.fit_svdpp, "scikit-surprise with its defaults: 20 factors, 20 epochs"
    ),
    SERVED_RATING: Algorithm(
        fitted_algorithms.with_trainer(bpmf.fit, _from_params("bpmf")),
        "**predicts ratings in production**, with the parameters of `params.yaml`",
    ),
    LARGE_BPMF: Algorithm(
        fitted_algorithms.with_trainer(bpmf.fit, _constant(_LARGE)),
        "31 factors, 400 sweeps, 64 served factors",
    ),
    EASE: Algorithm(fitted_algorithms.fit_full_rank_ease, "on the likes, ridge 300, full rank"),
    "EASE ranker, no time": Algorithm(
        fitted_algorithms.with_ranker("ease", trend_exponent=0.0, popularity_weight=0.0),
        "the next row without recent popularity",
    ),
    SERVED_RANKING: Algorithm(
        fitted_algorithms.with_ranker("ease"),
        "**ranks in production**, with the parameters of `params.yaml`",
    ),
}
