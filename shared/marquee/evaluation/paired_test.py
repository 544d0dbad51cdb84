"""Which of two candidates is better, asked of the same users: by the interval of the difference.

Users are drawn again and again, each with his errors under both. What makes a slice of time easy or hard
is then the same for both, and the interval of the difference is far narrower than that of either figure.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec
import numpy as np
from numpy.typing import NDArray

from marquee.data.splits import Split
from marquee.evaluation.baselines import Candidate
from marquee.evaluation.offline import EvaluationParams, errors_by_user, ranking_by_user

RMSE, NDCG = "rmse", "ndcg@10"
_AT_ONCE = 64
Floats = NDArray[np.float64]


class GateParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``min_users``: with fewer in a comparison there is no verdict. ``margin``: of RMSE and of NDCG, what
    nobody would notice; the rounding of float32 alone makes differences that are small and always of one sign.
    """

    min_users: int
    margin: float


class Significance(StrEnum):
    """Beyond its interval or not."""

    BETTER = "better"
    EQUAL = "no different"
    WORSE = "worse"
    TOO_FEW = "too few users"


class PairedComparison(msgspec.Struct, frozen=True):
    """``difference``: of ours less theirs, with the ends of its interval, over ``users``."""

    metric: str
    against: str
    ours: float
    theirs: float
    difference: float
    low: float
    high: float
    users: int
    verdict: Significance

    def __str__(self) -> str:
        return (
            f"{self.metric} {self.ours:.4f} is {self.verdict} than {self.against}'s {self.theirs:.4f}: "
            f"{self.difference:+.4f} [{self.low:+.4f}, {self.high:+.4f}] over {self.users} users"
            if self.verdict is not Significance.TOO_FEW
            else f"{self.metric} against {self.against}: {self.users} users are too few to tell"
        )


def compare_rmse(
    ours: Candidate, theirs: Candidate, split: Split, gate: GateParams, params: EvaluationParams, seed: int
) -> PairedComparison:
    """The ratings of ``split.test``; less is better."""
    mine, _, counts = errors_by_user(ours, split.test)
    other, _, _ = errors_by_user(theirs, split.test)
    return paired_bootstrap(RMSE, theirs.name, (mine, other), counts, gate, params, seed)


def compare_ndcg(
    ours: Candidate, theirs: Candidate, split: Split, gate: GateParams, params: EvaluationParams, seed: int
) -> PairedComparison:
    """The rankings for the users who like an item of ``split.test``; more is better."""
    mine, other = (ranking_by_user(c, split)[NDCG] for c in (ours, theirs))
    return paired_bootstrap(NDCG, theirs.name, (mine, other), np.ones(len(mine)), gate, params, seed)


def too_few(metric: str, against: str, users: int) -> PairedComparison:
    """Of so few users that nothing was computed."""
    nan = float("nan")
    return PairedComparison(metric, against, nan, nan, nan, nan, nan, users, Significance.TOO_FEW)


def paired_bootstrap(
    metric: str,
    against: str,
    sums: tuple[Floats, Floats],
    counts: Floats,
    gate: GateParams,
    params: EvaluationParams,
    seed: int,
) -> PairedComparison:
    """Of sums of ours and of theirs by user, [users] each, over ``counts``; the root of it for :data:`RMSE`."""
    users = len(counts)
    if not users:
        return too_few(metric, against, users)
    weights = np.ones((1, users))
    ours, theirs = (float(_figure(metric, weights, s, counts)[0]) for s in sums)
    drawn = _differences(metric, sums, counts, params.resamples, seed)
    low, high = np.quantile(drawn, [(1 - params.interval) / 2, (1 + params.interval) / 2]).tolist()
    found = PairedComparison(
        metric, against, ours, theirs, ours - theirs, low, high, users, Significance.EQUAL
    )
    return msgspec.structs.replace(found, verdict=_verdict(found, gate))


def _verdict(found: PairedComparison, gate: GateParams) -> Significance:
    """A figure that is no number is worse than any other, however few the users."""
    if not np.isfinite(found.ours):
        return Significance.WORSE
    if found.users < gate.min_users:
        return Significance.TOO_FEW
    more_is_better = found.metric != RMSE
    if found.low > gate.margin:
        return Significance.BETTER if more_is_better else Significance.WORSE
    if found.high < -gate.margin:
        return Significance.WORSE if more_is_better else Significance.BETTER
    return Significance.EQUAL


def _differences(
    metric: str, sums: tuple[Floats, Floats], counts: Floats, resamples: int, seed: int
) -> Floats:
    rng, n = np.random.default_rng(seed), len(counts)
    found = []
    for start in range(0, resamples, _AT_ONCE):
        weights = rng.multinomial(n, np.full(n, 1 / n), size=min(_AT_ONCE, resamples - start))
        ours, theirs = (_figure(metric, weights, s, counts) for s in sums)
        found.append(ours - theirs)
    return np.concatenate(found)


def _figure(metric: str, weights: np.ndarray, sums: Floats, counts: Floats) -> Floats:
    ratio = (weights @ sums) / (weights @ counts)
    figure: Floats = np.sqrt(ratio) if metric == RMSE else ratio
    return figure
