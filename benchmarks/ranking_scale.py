"""The EASE ranker on a planted world, measured in a process of its own: CPU time, memory and NDCG@10."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from threadpoolctl import threadpool_limits

from benchmarks.planted_world import World, planted_dataset, sample_holdout
from marquee.data.interactions import WeightedInteractions
from marquee.data.splits import Split
from marquee.evaluation import offline
from marquee.evaluation.baselines import Candidate
from marquee.models import ease, pure_svd
from marquee.models.ease import EaseParams
from marquee.models.item_regression import PASSES, Float32, InverseGram, ItemRegression, ScoreOperator, reduce_rank
from marquee.models.popularity import PopularityParams, fit_popularity
from marquee.models.ranker_port import RankingFactors
from marquee.training.params import Params

_TEST_USERS = 2000
_SEED = 1


class Request(msgspec.Struct, frozen=True):
    """A world to generate, changed parameters of the ranker, and the references to fit too.

    ``exact``: the solution in float64, with more passes. ``pure_svd``: PureSVD with its parameters.
    """

    world: Mapping[str, float]
    changes: Mapping[str, float] = {}
    exact: bool = False
    pure_svd: bool = False


class Outcome(msgspec.Struct, frozen=True):
    """CPU minutes and peak memory of the fit, the memory of the data alone, and NDCG@10 by ranker."""

    cpu_min: float
    gb: float
    data_gb: float
    ndcg: dict[str, float]


def measure(request: Request) -> Outcome:
    """Measure in a process of its own with one BLAS thread."""
    command = [sys.executable, "-m", "benchmarks.ranking_scale", msgspec.json.encode(request).decode()]
    output = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
    return msgspec.json.decode(output, type=Outcome)


class _RefinedInverse:
    """P applied in float64: iterative refinement of a float32 inverse."""

    def __init__(self, regression: ItemRegression, inverse: InverseGram) -> None:
        self._inverse = inverse
        self._history = regression.history.astype(float)
        self._by_item = regression.history_by_item.astype(float)
        self._penalty = regression.penalty.astype(float)
        self.multipliers = inverse.multipliers

    def apply(self, columns: Float32) -> Float32:
        """Return P @ ``columns``, rounded to float32 once."""
        right = columns.astype(float)
        solution = self._inverse.apply(columns).astype(float)
        for _ in range(2):
            residual = right - self._by_item @ (self._history @ solution) - self._penalty[:, None] * solution
            solution += self._inverse.apply(residual.astype(np.float32))
        return solution.astype(np.float32)


def _measure_here(request: Request) -> Outcome:
    world = msgspec.convert(request.world, World, strict=False)
    params = Params.read(Path("params.yaml"))
    without_time = {"trend_exponent": 0.0, "popularity_weight": 0.0}
    ease_params = {**params.rankers["ease"], **without_time, **request.changes}
    section = msgspec.convert(ease_params, EaseParams, strict=False)  # The request has floats.
    split = sample_holdout(planted_dataset(world), _TEST_USERS)
    interactions, shape = WeightedInteractions.from_dataset(split.train), (world.n_users, world.n_items)
    Path("/proc/self/clear_refs").write_text("5")  # Linux: the peak starts again at the present size.
    data_gb = _peak_gb()
    started = time.process_time()
    regression = ItemRegression.from_interactions(interactions, shape, section.ridge, section.dropout)
    inverse = ease.invert(regression, section)
    factors = reduce_rank(ScoreOperator(regression, inverse), section.rank, _SEED)
    cpu_min, gb = (time.process_time() - started) / 60, _peak_gb()
    evaluate = _evaluation(split, regression.history)
    ndcg = {"ease": evaluate(factors)}
    if request.exact:
        exact = ScoreOperator(regression, _RefinedInverse(regression, inverse))
        ndcg["exact"] = evaluate(reduce_rank(exact, section.rank, _SEED + 1, PASSES + 3))
    del inverse
    if request.pure_svd:
        popular = fit_popularity(interactions, world.n_items, PopularityParams(14, 1000))
        svd = {**params.rankers["pure_svd"], **without_time}
        ndcg["pure_svd"] = evaluate(pure_svd.fit(interactions, shape, popular, svd, _SEED))
    return Outcome(cpu_min, gb, data_gb, ndcg)


def _evaluation(split: Split, history: csr_array) -> Callable[[RankingFactors], float]:
    def evaluate(factors: RankingFactors) -> float:
        v, w = (a.astype(np.float32) for a in (factors.rank_history, factors.rank_items))

        def score(users: NDArray[np.int32]) -> NDArray[np.float64]:
            return np.asarray((history[users] @ v) @ w.T, np.float64)

        return float(offline.ranking_by_user(Candidate("ranker", score=score), split)["ndcg@10"].mean())

    return evaluate


def _peak_gb() -> float:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found, "/proc/self/status has no VmHWM"
    return int(found[1]) * 1024 / 1e9


if __name__ == "__main__":
    with threadpool_limits(1, user_api="blas"):
        print(msgspec.json.encode(_measure_here(msgspec.json.decode(sys.argv[1], type=Request))).decode())
