"""Group fairness: error and ranking quality for each group of users in the temporal holdout, and unequal exposure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from marquee.data.splits import Split
from marquee.evaluation import exposure, user_groups
from marquee.evaluation.baselines import model_candidate
from marquee.evaluation.bootstrap import EvaluationParams, ratio_of_sums
from marquee.evaluation.offline import UserMeasures, measure_users
from marquee.evaluation.user_groups import UNKNOWN
from marquee.registry.manifest import Metric
from marquee.registry.trained_model import TrainedModel


class FairnessParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``min_users``: a group with fewer users is reported, but does not count for the gap."""

    min_users: int


class GroupMetric(msgspec.Struct, frozen=True):
    """RMSE of a group, over ``users``, and NDCG@10 over the ``ranked_users`` of them with a liked item in the test."""

    rmse: Metric
    users: int
    ndcg: Metric | None = None
    ranked_users: int = 0


class Fairness(msgspec.Struct, frozen=True):
    """Metrics by kind of group (gender, age, activity), then by group.

    ``gap`` and ``ndcg_gap``: by kind, the difference of RMSE and of NDCG@10 between the worst and the best group with
    enough users. ``exposure_gini``: Gini coefficient of the exposure of all movies, None without lists. ``seed`` of the
    bootstrap; ``data``: SHA-256 of the dataset.
    """

    groups: dict[str, dict[str, GroupMetric]]
    gap: dict[str, float]
    seed: int
    data: str
    ndcg_gap: dict[str, float] = {}
    exposure_gini: Metric | None = None


def evaluate_groups(
    model: TrainedModel,
    split: Split,
    users: Mapping[str, Mapping[str, str]],
    params: FairnessParams,
    evaluation: EvaluationParams,
    seed: int,
    data: str,
) -> Fairness:
    """Return the metrics by gender, age band and activity. ``users`` holds the users' attributes by id."""
    measures = measure_users(model_candidate(model), split)
    labels = label_test_users(split, measures.users, users)
    groups = {
        kind: {
            group: _measure_group(measures, members, evaluation, seed)
            for group, members in user_groups.split_members(names)
        }
        for kind, names in labels.items()
    }
    lists = measures.lists
    gini = exposure.exposure_gini(lists, split.train.n_items, evaluation, seed) if len(lists) else None
    return Fairness(
        groups,
        {kind: rmse_gap(by_group, params.min_users) for kind, by_group in groups.items()},
        seed,
        data,
        {kind: ndcg_gap(by_group, params.min_users) for kind, by_group in groups.items()},
        gini,
    )


def label_test_users(
    split: Split, rows: NDArray[np.integer], users: Mapping[str, Mapping[str, str]]
) -> dict[str, list[str]]:
    """Return the groups of the users ``rows`` of a split, by kind."""
    activity = np.bincount(split.train.ratings.users, minlength=split.train.n_users)[rows]
    attributes = [users.get(split.train.user_ids[user], {}) for user in rows]
    return user_groups.label_users(attributes, activity.tolist())


def manifest_values(fairness: Fairness) -> dict[str, Metric]:
    """Return the gaps by the manifest's names, such as ``rmse_gap.age``."""
    values = {f"rmse_gap.{kind}": Metric(gap) for kind, gap in fairness.gap.items()}
    return values | {f"ndcg_gap.{kind}": Metric(gap) for kind, gap in fairness.ndcg_gap.items()}


def _measure_group(
    measures: UserMeasures, members: NDArray[np.bool_], evaluation: EvaluationParams, seed: int
) -> GroupMetric:
    rmse = ratio_of_sums(measures.squared[members], measures.counts[members], evaluation, seed, root=True)
    ndcg = measures.ndcg[members[measures.ranked]]
    n = len(ndcg)
    return GroupMetric(rmse, int(members.sum()), ratio_of_sums(ndcg, np.ones(n), evaluation, seed) if n else None, n)


def rmse_gap(groups: Mapping[str, GroupMetric], min_users: int) -> float:
    """Return the difference of RMSE between the worst and the best group of at least ``min_users`` users."""
    return _gap([g.rmse.value for name, g in groups.items() if g.users >= min_users and name != UNKNOWN])


def ndcg_gap(groups: Mapping[str, GroupMetric], min_users: int) -> float:
    """Return the difference of NDCG@10 between the best and the worst group of at least ``min_users`` ranked users."""
    enough = (g.ndcg for name, g in groups.items() if g.ranked_users >= min_users and name != UNKNOWN)
    return _gap([ndcg.value for ndcg in enough if ndcg])


def _gap(values: Sequence[float]) -> float:
    """Return the difference between the largest and the smallest value; 0 for fewer than two."""
    return max(values) - min(values) if values else 0.0
