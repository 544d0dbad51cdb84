"""Whether the model is as good for everybody: the error of each group of users, on the newest slice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from marquee.data.splits import Split
from marquee.evaluation.baselines import model_candidate
from marquee.evaluation.bootstrap import Estimate, ratio_of_sums
from marquee.evaluation.offline import EvaluationParams, errors_by_user
from marquee.registry.trained_model import TrainedModel

UNKNOWN = "unknown"
_AGES = ((18, "under 18"), (25, "18-24"), (35, "25-34"), (45, "35-44"), (50, "45-49"), (56, "50-55"))
_ACTIVITY = ((0, "no rating before"), (50, "1-50 ratings"), (150, "51-150 ratings"))


class FairnessParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``min_users``: a smaller group is reported and does not count for the gap."""

    min_users: int


class Fairness(msgspec.Struct, frozen=True):
    """``rmse``: by kind of group, by group. ``gap``: by kind, from the best to the worst of the groups that
    are large enough.
    """

    rmse: dict[str, dict[str, Estimate]]
    gap: dict[str, float]


def evaluate_groups(
    model: TrainedModel,
    split: Split,
    users: Mapping[str, Mapping[str, str]],
    params: FairnessParams,
    evaluation: EvaluationParams,
    seed: int,
    data: str,
) -> Fairness:
    """RMSE with its interval over users, by gender, age band and activity; ``users``: what is known of them."""
    squared, _, counts = errors_by_user(model_candidate(model), split.test)
    asked = np.unique(split.test.users)
    before = np.bincount(split.train.ratings.users, minlength=split.train.n_users)[asked]
    known = [users.get(split.train.user_ids[user], {}) for user in asked]
    kinds = {
        "gender": [row.get("gender") or UNKNOWN for row in known],
        "age": [_age(row.get("age", "")) for row in known],
        "activity": [_band(int(n) - 1, _ACTIVITY, "over 150 ratings") for n in before],
    }

    def figure(rows: np.ndarray) -> Estimate:
        return ratio_of_sums(
            squared[rows],
            counts[rows],
            resamples=evaluation.resamples,
            interval=evaluation.interval,
            seed=seed,
            data=data,
            root=True,
        )

    rmse = {
        kind: {group: figure(np.array(groups) == group) for group in sorted(set(groups))}
        for kind, groups in kinds.items()
    }
    return Fairness(rmse, {kind: _gap(figures, params.min_users) for kind, figures in rmse.items()})


def _gap(figures: Mapping[str, Estimate], min_users: int) -> float:
    """0 unless two groups are large enough."""
    values = [f.value for group, f in figures.items() if f.users >= min_users and group != UNKNOWN]
    return max(values) - min(values) if values else 0.0


def _age(age: str) -> str:
    return _band(int(age), _AGES, "56 and over") if age.isdigit() else UNKNOWN


def _band(number: int, prediction_intervals: Sequence[tuple[int, str]], last: str) -> str:
    return next((name for end, name in prediction_intervals if number < end), last)
