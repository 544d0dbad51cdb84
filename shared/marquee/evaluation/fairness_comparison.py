"""Paired comparison of two models' fairness: gaps between groups of users, and the Gini coefficient of exposure.

Users are resampled, each with their results under both models, as in :mod:`marquee.evaluation.paired_test`. The
intervals hold simultaneously for all comparisons (Bonferroni). Seven separate 95 % intervals would refuse one in six
models that are as fair as the serving one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from marquee.evaluation import exposure, user_groups
from marquee.evaluation.bootstrap import EvaluationParams, draw_weights
from marquee.evaluation.offline import UserMeasures
from marquee.evaluation.paired_test import PairedComparison, PairedTestParams, compare_samples, too_few
from marquee.evaluation.user_groups import UNKNOWN

RMSE_GAP, NDCG_GAP, EXPOSURE_GINI = "rmse_gap", "ndcg_gap", "exposure_gini"
Floats = NDArray[np.float64]
GINI_MARGIN = 0.01
"""Margin for the difference of Gini coefficients, which are about 0.97 at ten positions. A retraining of the demo moved
them by 0.008, so the margin of RMSE and NDCG would refuse it."""
Members = list[NDArray[np.bool_]]


class ComparedMetric(msgspec.Struct, frozen=True):
    """Values and samples of both models, the candidate first, over ``users``."""

    metric: str
    values: tuple[float, float]
    samples: Floats  # [2, resamples]
    users: int


def compare_fairness(
    pair: tuple[UserMeasures, UserMeasures],
    labels: Mapping[str, Sequence[str]],
    n_items: int,
    baseline: str,
    test: PairedTestParams,
    evaluation: EvaluationParams,
    seed: int,
) -> list[PairedComparison]:
    """Compare the candidate, the first of ``pair``, with the second: lower is better for each metric.

    ``labels`` holds the group of each user by kind. A gap is the difference between the worst and the best group of at
    least ``test.min_users`` users; with fewer than two such groups the result is "too few".
    """
    options = test.min_users, evaluation.resamples, seed
    measured = [*_compare_gaps(pair, labels, *options), _compare_ginis(pair, n_items, *options)]
    return compare_jointly(measured, baseline, test, evaluation)


def compare_jointly(
    measured: Sequence[ComparedMetric | tuple[str, int]],
    baseline: str,
    test: PairedTestParams,
    evaluation: EvaluationParams,
) -> list[PairedComparison]:
    """Compare each metric; a metric and its number of users alone are too few users.

    The intervals hold simultaneously for all of them.
    """
    found = [m for m in measured if isinstance(m, ComparedMetric)]
    joint = msgspec.structs.replace(evaluation, interval=1 - (1 - evaluation.interval) / max(1, len(found)))
    return [
        compare_samples(
            m.metric,
            baseline,
            m.values,
            m.samples[0] - m.samples[1],
            m.users,
            msgspec.structs.replace(test, margin=GINI_MARGIN)
            if m.metric == EXPOSURE_GINI
            else test.against_serving(m.metric),
            joint,
        )
        if isinstance(m, ComparedMetric)
        else too_few(m[0], baseline, m[1])
        for m in measured
    ]


def _compare_gaps(
    pair: tuple[UserMeasures, UserMeasures],
    labels: Mapping[str, Sequence[str]],
    min_users: int,
    resamples: int,
    seed: int,
) -> Iterator[ComparedMetric | tuple[str, int]]:
    model, serving = pair
    options = min_users, resamples, seed
    for kind, names in labels.items():
        sums = model.squared, serving.squared
        yield _compare_gap(f"{RMSE_GAP}.{kind}", sums, model.counts, names, *options, root=True)
    for kind, names in labels.items():
        sums, ranked = (model.ndcg, serving.ndcg), [names[row] for row in model.ranked]
        yield _compare_gap(f"{NDCG_GAP}.{kind}", sums, np.ones(len(ranked)), ranked, *options)


def _compare_gap(
    metric: str,
    sums: tuple[Floats, Floats],
    counts: Floats,
    labels: Sequence[str],
    min_users: int,
    resamples: int,
    seed: int,
    *,
    root: bool = False,
) -> ComparedMetric | tuple[str, int]:
    """Return both models' gaps; with fewer than two groups that are large enough, the metric and number of users."""
    members = [rows for name, rows in user_groups.split_members(labels) if name != UNKNOWN and rows.sum() >= min_users]
    users = int(sum(rows.sum() for rows in members))
    if len(members) < 2:
        return metric, users
    chunks = list(draw_weights(len(counts), resamples, seed))
    samples = [np.hstack([_gaps(one, counts, members, weights, root) for weights in chunks]) for one in sums]
    once = np.ones((1, len(counts)))
    first, second = (float(_gaps(one, counts, members, once, root)[0]) for one in sums)
    return ComparedMetric(metric, (first, second), np.array(samples), users)


def _gaps(sums: Floats, counts: Floats, members: Members, weights: Floats, root: bool) -> Floats:
    """Return the gap in each resample of ``weights`` [resamples, n]; groups without a drawn user are ignored."""
    with np.errstate(invalid="ignore"):
        ratios = np.stack([(weights[:, rows] @ sums[rows]) / (weights[:, rows] @ counts[rows]) for rows in members])
    values = np.sqrt(ratios) if root else ratios
    gaps: Floats = np.nanmax(values, axis=0) - np.nanmin(values, axis=0)
    return gaps


def _compare_ginis(
    pair: tuple[UserMeasures, UserMeasures], n_items: int, min_users: int, resamples: int, seed: int
) -> ComparedMetric | tuple[str, int]:
    lists = [measures.lists[:, : exposure.LENGTH] for measures in pair]
    users = len(lists[0])
    if users < max(1, min_users):
        return EXPOSURE_GINI, users
    first, second = (exposure.gini(exposure.total_exposure(one, n_items)) for one in lists)
    return ComparedMetric(
        EXPOSURE_GINI, (first, second), exposure.resample_ginis(lists, n_items, resamples, seed), users
    )
