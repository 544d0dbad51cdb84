"""Paired bootstrap test of a candidate against a baseline on the same users.

Users are resampled, each with their errors under both models. So the difficulty of the test ratings cancels out, and
the interval of the difference is much narrower than that of either metric.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec
import numpy as np
from numpy.typing import NDArray

from marquee.data.splits import Split
from marquee.evaluation.baselines import Candidate
from marquee.evaluation.bootstrap import EvaluationParams, percentile_interval, resample_ratios
from marquee.evaluation.offline import errors_by_user, ranking_by_user

RMSE, NDCG = "rmse", "ndcg@10"
HIGHER_IS_BETTER = (NDCG, "ndcg@20")
Floats = NDArray[np.float64]


class PairedTestParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters of the verdict.

    - ``min_users``: with fewer users there is no verdict
    - ``margin``: smallest difference of RMSE or NDCG that counts. Float32 rounding biases small differences in one
      direction, so that even a certain difference may be noise.
    - ``serving_margin``: the same for RMSE and its gaps against the serving model. Both models are draws of a sampler,
      and the interval over users does not include the variance between draws (docs/decisions/0055).
    """

    min_users: int
    margin: float
    serving_margin: float

    def against_serving(self, metric: str) -> PairedTestParams:
        """Return the parameters for a comparison of ``metric`` with the serving model."""
        return msgspec.structs.replace(self, margin=self.serving_margin) if metric.startswith(RMSE) else self


class Significance(StrEnum):
    """Verdict of a paired test."""

    BETTER = "better"
    EQUAL = "no different"
    WORSE = "worse"
    TOO_FEW = "too few users"


class PairedComparison(msgspec.Struct, frozen=True):
    """Result of a paired test over ``users``.

    ``difference`` is ``candidate_value`` - ``baseline_value``; its interval is ``low`` to ``high``. ``baseline`` is the
    baseline's name.
    """

    metric: str
    baseline: str
    candidate_value: float
    baseline_value: float
    difference: float
    low: float
    high: float
    users: int
    verdict: Significance

    def __str__(self) -> str:
        if self.verdict is Significance.TOO_FEW:
            return f"{self.metric} against {self.baseline}: {self.users} users are too few to tell"
        return (
            f"{self.metric} {self.candidate_value:.4f} is {self.verdict} than {self.baseline}'s "
            f"{self.baseline_value:.4f}: {self.difference:+.4f} [{self.low:+.4f}, {self.high:+.4f}] "
            f"over {self.users} users"
        )


def compare_rmse(
    candidate: Candidate,
    baseline: Candidate,
    split: Split,
    test: PairedTestParams,
    evaluation: EvaluationParams,
    seed: int,
) -> PairedComparison:
    """Compare the RMSE on the ratings of ``split.test``; lower is better."""
    candidate_sums, _, counts = errors_by_user(candidate, split.test)
    baseline_sums, _, _ = errors_by_user(baseline, split.test)
    return paired_bootstrap(RMSE, baseline.name, (candidate_sums, baseline_sums), counts, test, evaluation, seed)


def compare_ndcg(
    candidate: Candidate,
    baseline: Candidate,
    split: Split,
    test: PairedTestParams,
    evaluation: EvaluationParams,
    seed: int,
) -> PairedComparison:
    """Compare the NDCG of the lists for users with a liked item in ``split.test``; higher is better."""
    sums = (ranking_by_user(candidate, split)[NDCG], ranking_by_user(baseline, split)[NDCG])
    return paired_bootstrap(NDCG, baseline.name, sums, np.ones(len(sums[0])), test, evaluation, seed)


def too_few(metric: str, baseline: str, users: int) -> PairedComparison:
    """Return the result for too few users, without values."""
    nan = float("nan")
    return PairedComparison(metric, baseline, nan, nan, nan, nan, nan, users, Significance.TOO_FEW)


def paired_bootstrap(
    metric: str,
    baseline: str,
    sums: tuple[Floats, Floats],
    counts: Floats,
    test: PairedTestParams,
    evaluation: EvaluationParams,
    seed: int,
) -> PairedComparison:
    """Compare sums of the candidate and of the baseline [n_users each] over ``counts``.

    For :data:`RMSE` the compared value is the square root of the ratio.
    """
    users = len(counts)
    if not users:
        return too_few(metric, baseline, users)
    transform = np.sqrt if metric == RMSE else np.asarray
    values = tuple(float(transform(s.sum() / counts.sum())) for s in sums)
    candidate, base = transform(resample_ratios(sums, counts, evaluation.resamples, seed))
    return compare_samples(metric, baseline, (values[0], values[1]), candidate - base, users, test, evaluation)


def compare_samples(
    metric: str,
    baseline: str,
    values: tuple[float, float],
    differences: Floats,
    users: int,
    test: PairedTestParams,
    evaluation: EvaluationParams,
) -> PairedComparison:
    """Return the result for the ``values`` of candidate and baseline, whose paired ``differences`` were resampled.

    For all metrics but :data:`HIGHER_IS_BETTER` lower is better.
    """
    low, high = percentile_interval(differences, evaluation.interval)
    difference = values[0] - values[1]
    result = PairedComparison(metric, baseline, *values, difference, low, high, users, Significance.EQUAL)
    return msgspec.structs.replace(result, verdict=_verdict(result, test))


def _verdict(result: PairedComparison, test: PairedTestParams) -> Significance:
    """Return the verdict. A value that is not finite is worse than any other, however few the users."""
    if not np.isfinite(result.candidate_value):
        return Significance.WORSE
    if result.users < test.min_users:
        return Significance.TOO_FEW
    higher_is_better = result.metric in HIGHER_IS_BETTER
    if result.low > test.margin:
        return Significance.BETTER if higher_is_better else Significance.WORSE
    if result.high < -test.margin:
        return Significance.WORSE if higher_is_better else Significance.BETTER
    return Significance.EQUAL
