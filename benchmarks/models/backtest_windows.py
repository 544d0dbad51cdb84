"""What serves, on cuts in time: learnt from all before the cut, asked about the tenth of the ratings after it.

That is what a retraining does. Constants are chosen on the cuts before the newest slice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.models import compared_systems
from benchmarks.models.aggregate import AggregateSettings
from benchmarks.models.report_model import Cohorts, Cut
from benchmarks.models.split_metrics import Arrays
from marquee.data.dataset import Dataset
from marquee.data.side_information import SideInformation
from marquee.data.splits import Split
from marquee.evaluation import baselines, offline, prediction_intervals
from marquee.evaluation.baselines import Candidate
from marquee.evaluation.bootstrap import Estimate
from marquee.evaluation.paired_test import PairedComparison, paired_bootstrap
from marquee.models import cohort_preferences, surprise_svd
from marquee.models.trainer_port import no_progress
from marquee.registry.manifest import ResidualInterval
from marquee.registry.trained_model import TrainedModel
from marquee.scoring.cohort_scores import demographic_cohorts, score_cohorts
from marquee.training.params import Params
from marquee.training.train_model import train_model

Floats = NDArray[np.float64]
Ints = NDArray[np.integer]

SLICE = 0.1
CUTS = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""Where each slice begins. The first only calibrates; the last is the newest slice."""
PRIOR_STRENGTH = (300.0, 3000.0, 10_000.0, 30_000.0, 100_000.0)
_SERVED, _REFERENCE, _BIASES = "served", "surprise SVD, tuned", "bias only"
_NO_TRENDS, _POPULAR = "without trends", "popular"
_AT = ("ndcg@10", "ndcg@20")


def split_at(dataset: Dataset, at: float) -> Split:
    """The slice of the ratings from the share ``at`` on, against all before it."""
    times = dataset.ratings.times
    begin = int(times[int(len(times) * at)])
    last = at + SLICE > 1 - 1e-9
    end = int(times[-1]) + 1 if last else int(times[int(len(times) * (at + SLICE))])
    past = dataset.without_ratings(times >= end)
    later = past.ratings.times >= begin
    train = past.without_ratings(later).watch_sessions_before(begin)
    return Split(f"from {at:.0%}", train, past.ratings.where(later))


def measure(split: Split, facts: SideInformation, params: Params) -> Arrays:
    """One cut. By rating: ``users``, ``known``, and each system's ``error.*``; by user who likes an item (``asked``):
    each list's ``ndcg.*``; by new ones (``new``): NDCG of the popular list and of the lists by cohort, ``popular.*``
    and ``<shrunk by>.*``.
    """
    model = train_model(split.train, params)
    reference = surprise_svd.fit(split.train, params.trainers["surprise_svd"], params.seed, no_progress)
    low, high = split.train.rating_min, split.train.rating_max
    raters = {
        _SERVED: baselines.model_candidate(model),
        _REFERENCE: Candidate("", lambda u, i: np.clip(reference.predict(u, i), low, high)),
        _BIASES: baselines.bias_baseline(split.train),
    }
    found: Arrays = {"users": split.test.users}
    for name, candidate in raters.items():
        found[f"error.{name}"], found["known"] = offline.errors_and_known(candidate, split)
    return found | _lists(model, split, params) | _new_users(model, split, facts)


def _lists(model: TrainedModel, split: Split, params: Params) -> Arrays:
    """With what the ranking head knows of trends in time, without it, and the popular list."""
    lists = {
        _SERVED: baselines.model_candidate(model),
        _NO_TRENDS: compared_systems.ranker(trend_exponent=0.0, popularity_weight=0.0)(split.train, params).candidate,
        _POPULAR: baselines.popularity_baseline(model),
    }
    found: Arrays = {}
    for name, candidate in lists.items():
        ranking = offline.ranking(candidate, split)
        found |= {"asked": ranking.users, f"ndcg.{name}": offline.by_user(ranking)[_AT[0]]}
    return found


def _new_users(model: TrainedModel, split: Split, facts: SideInformation) -> Arrays:
    """Users of whom nothing is known but the facts."""
    seen = np.bincount(split.train.ratings.users, minlength=split.train.n_users)
    new = replace(split, test=split.test.where(seen[split.test.users] == 0))
    popular = offline.ranking(baselines.popularity_baseline(model), new)
    found: Arrays = {"new": popular.users}
    found |= {f"popular.{m}": v for m, v in offline.by_user(popular).items() if m in _AT}
    for amount in PRIOR_STRENGTH:
        by_cohort = _by_cohort(cohort_preferences.with_cohorts(model, facts, amount), facts)
        ndcg = offline.by_user(offline.ranking(by_cohort, new))
        found |= {f"{_named(amount)}.{metric}": ndcg[metric] for metric in _AT}
    return found


def _named(amount: float) -> str:
    return f"{amount:,.0f}"


def _by_cohort(model: TrainedModel, facts: SideInformation) -> Candidate:
    """The list of each user's cohorts, as it is served."""
    rows = {name: row for row, name in enumerate(model.cohort_names)}

    def scores_of(user: int) -> Floats:
        known = facts.users.get(model.user_ids[user], {})
        age = known.get("age", "")
        names = demographic_cohorts(
            int(age) if age.isdigit() else None, known.get("gender", ""), known.get("occupation", "")
        )
        mine = [rows[name] for name in names if name in rows]
        weights = np.ones(len(mine), np.float32)
        return score_cohorts(model.popularity, model.cohort_scores[mine], weights).astype(float)

    return Candidate("cohort", score=lambda users: np.stack([scores_of(u) for u in users.tolist()]))


def cut(at: float, arrays: Sequence[Arrays], before: Sequence[Arrays], settings: AggregateSettings) -> Cut:
    """The figures of one cut, or of several together; ``before``: for each the cut that calibrated its intervals."""
    users, known = (_joined(arrays, name) for name in ("users", "known"))
    groups = {"all": known >= 0, "known": known > 0, "new": known == 0}
    groups = {group: rows for group, rows in groups.items() if rows.any()}
    rmse = {
        name: {
            group: _mean(_joined(arrays, f"error.{name}") ** 2, users, rows, settings, root=True)
            for group, rows in groups.items()
        }
        for name in (_SERVED, _REFERENCE, _BIASES)
    }
    inside = np.concatenate([_covered(now, then) for now, then in zip(arrays, before, strict=True)])
    covered = {group: _mean(inside, users, rows, settings) for group, rows in groups.items()}
    asked = _joined(arrays, "asked")
    ndcg = {
        name: _mean(_joined(arrays, f"ndcg.{name}"), asked, asked >= 0, settings)
        for name in (_SERVED, _NO_TRENDS, _POPULAR)
    }
    new = len(np.unique(users[known == 0]))
    return Cut(at, len(users), len(np.unique(users)), new, rmse, ndcg, covered)


def _covered(now: Arrays, before: Arrays) -> Floats:
    intervals: tuple[ResidualInterval, ...] = prediction_intervals.calibrate(
        _errors(before), before["known"].astype(np.int64)
    )
    return prediction_intervals.coverage(intervals, _errors(now), now["known"].astype(np.int64)).astype(
        np.float64
    )


def _errors(arrays: Arrays) -> Floats:
    return arrays[f"error.{_SERVED}"].astype(np.float64)


def _joined(arrays: Sequence[Arrays], name: str) -> NDArray[Any]:
    return np.concatenate([part[name] for part in arrays])


def _mean(
    values: Floats, users: Ints, rows: NDArray[np.bool_], settings: AggregateSettings, root: bool = False
) -> Estimate:
    """Of the ``values`` of some ratings, with its interval over their users."""
    _, of_user, counts = np.unique(users[rows], return_inverse=True, return_counts=True)
    sums = np.bincount(of_user, values[rows], len(counts)).astype(np.float64)
    return settings.figure(sums, counts.astype(np.float64), root)


def of_cohorts(cuts: Mapping[float, Arrays], params: Params) -> Cohorts:
    """On the cuts that chose the constant, and on the newest slice with what serves."""
    past = [arrays for at, arrays in cuts.items() if at < max(cuts)]
    serves = _named(cohort_preferences.PRIOR_STRENGTH)
    chosen = {_named(amount): _against_popular(past, _named(amount), params) for amount in PRIOR_STRENGTH}
    return Cohorts(chosen, _against_popular([cuts[max(cuts)]], serves, params), serves)


def _against_popular(arrays: Sequence[Arrays], name: str, params: Params) -> list[PairedComparison]:
    """At 10 and at 20; nothing where nobody is new."""
    found: list[PairedComparison] = []
    if not len(_joined(arrays, "new")):
        return found
    for metric in _AT:
        ours, theirs = (_joined(arrays, f"{who}.{metric}").astype(float) for who in (name, "popular"))
        ones = np.ones(len(ours))
        found.append(
            paired_bootstrap(
                metric, "popularity", (ours, theirs), ones, params.release_policy, params.evaluation, params.seed
            )
        )
    return found
