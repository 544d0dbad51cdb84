"""Group fairness: the model's error on each group of users in the temporal holdout."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from marquee.data.splits import Split
from marquee.evaluation.baselines import model_candidate
from marquee.evaluation.bootstrap import EvaluationParams, ratio_of_sums
from marquee.evaluation.offline import errors_by_user
from marquee.registry.manifest import Metric
from marquee.registry.trained_model import TrainedModel

UNKNOWN = "unknown"
# Exclusive upper limit and name of each band.
_AGES = ((18, "under 18"), (25, "18-24"), (35, "25-34"), (45, "35-44"), (50, "45-49"), (56, "50-55"))
_ACTIVITY = ((1, "no rating before"), (51, "1-50 ratings"), (151, "51-150 ratings"))


class FairnessParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``min_users``: a group with fewer users is reported, but does not count for the gap."""

    min_users: int


class GroupMetric(msgspec.Struct, frozen=True):
    """RMSE of a group, over ``users``."""

    rmse: Metric
    users: int


class Fairness(msgspec.Struct, frozen=True):
    """Metrics by kind of group (gender, age, activity), then by group.

    ``gap``: by kind, the difference of RMSE between the worst and the best group with enough users. ``seed`` of the
    bootstrap; ``data``: SHA-256 of the dataset.
    """

    groups: dict[str, dict[str, GroupMetric]]
    gap: dict[str, float]
    seed: int
    data: str


def evaluate_groups(
    model: TrainedModel,
    split: Split,
    users: Mapping[str, Mapping[str, str]],
    params: FairnessParams,
    evaluation: EvaluationParams,
    seed: int,
    data: str,
) -> Fairness:
    """Return the RMSE by gender, age band and activity. ``users`` holds the users' attributes by id."""
    squared, _, counts = errors_by_user(model_candidate(model), split.test)
    rows = np.unique(split.test.users)
    activity = np.bincount(split.train.ratings.users, minlength=split.train.n_users)[rows]
    attributes = [users.get(split.train.user_ids[user], {}) for user in rows]
    kinds = {
        "gender": [row.get("gender") or UNKNOWN for row in attributes],
        "age": [_age_band(row.get("age", "")) for row in attributes],
        "activity": [_band(int(n), _ACTIVITY, "over 150 ratings") for n in activity],
    }

    def measure(members: NDArray[np.bool_]) -> GroupMetric:
        rmse = ratio_of_sums(squared[members], counts[members], evaluation, seed, root=True)
        return GroupMetric(rmse, int(members.sum()))

    groups = {kind: {group: measure(rows) for group, rows in _members(names)} for kind, names in kinds.items()}
    gap = {kind: _gap(by_group, params.min_users) for kind, by_group in groups.items()}
    return Fairness(groups, gap, seed, data)


def _members(names: Sequence[str]) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Yield each group in order of its name, with a mask of its users. ``names`` holds the group of each user."""
    number_by_name = {name: number for number, name in enumerate(sorted(set(names)))}
    numbers = np.fromiter((number_by_name[name] for name in names), np.int32, len(names))
    for name, number in number_by_name.items():
        yield name, numbers == number


def _gap(groups: Mapping[str, GroupMetric], min_users: int) -> float:
    """Return the gap; 0 unless two groups have enough users."""
    values = [g.rmse.value for name, g in groups.items() if g.users >= min_users and name != UNKNOWN]
    return max(values) - min(values) if values else 0.0


def _age_band(age: str) -> str:
    return _band(int(age), _AGES, "56 and over") if age.isdecimal() else UNKNOWN


def _band(number: int, bands: Sequence[tuple[int, str]], last: str) -> str:
    return next((name for end, name in bands if number < end), last)
