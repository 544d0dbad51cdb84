"""The systems by name, in the order in which they are shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.models import compared_systems
from benchmarks.models.compared_systems import Learn
from marquee.models import surprise_svd
from marquee.models.bpmf import trainer as bpmf
from marquee.training.params import Params

SERVED_RATING, SERVED_RANKING = "Bayesian SVD", "ranking head"
POPULARITY, BIAS_ONLY, REFERENCE = "popularity", "bias only", "surprise SVD, tuned"

_SURPRISE_DEFAULTS = {"n_factors": 100, "n_epochs": 20, "learning_rate": 0.005, "regularisation": 0.02}
_LARGE = {"factors": 31, "served_rank": 64, "feature_rank": 100, "sweeps": 400, "burn_in": 20}


@dataclass(frozen=True, slots=True)
class Algorithm:
    """``note``: what it is, for a reader who has not seen the code."""

    learn: Learn
    note: str


def _section(name: str) -> compared_systems.Section:
    return lambda params: params.trainers[name]


def _always(values: Mapping[str, Any]) -> compared_systems.Section:
    def section(params: Params) -> Mapping[str, Any]:
        return values

    return section


ALGORITHMS = {
    POPULARITY: Algorithm(compared_systems.popular, "what is liked of late, the same for everybody"),
    BIAS_ONLY: Algorithm(compared_systems.bias_only, "mean, user and item, no interaction"),
    "surprise SVD": Algorithm(
        compared_systems.rater(surprise_svd.fit, _always(_SURPRISE_DEFAULTS)),
        "scikit-surprise with its defaults: 100 factors, 20 epochs",
    ),
    REFERENCE: Algorithm(
        compared_systems.rater(surprise_svd.fit, _section("surprise_svd")),
        "scikit-surprise with the parameters of `params.yaml`",
    ),
    "surprise SVD++": Algorithm(
        compared_systems.svd_plus_plus, "scikit-surprise with its defaults: 20 factors, 20 epochs"
    ),
    SERVED_RATING: Algorithm(
        compared_systems.rater(bpmf.fit, _section("bpmf")),
        "**what rates in production**, with the parameters of `params.yaml`",
    ),
    "Bayesian SVD, large": Algorithm(
        compared_systems.rater(bpmf.fit, _always(_LARGE)),
        "31 factors, 400 sweeps, 64 factors served",
    ),
    "EASE": Algorithm(compared_systems.full_rank_ease, "on the likes, ridge 300, full rank"),
    "ranking head, no trends": Algorithm(
        compared_systems.ranker(trend_exponent=0.0, popularity_weight=0.0), "the next line without what it knows of time"
    ),
    SERVED_RANKING: Algorithm(
        compared_systems.ranker(), "**what ranks in production**, with the parameters of `params.yaml`"
    ),
}
