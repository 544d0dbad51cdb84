"""Temporal backtest of the served models.

Each window is a tenth of the ratings. The models are trained on everything before it, as in production. Constants are
chosen on the windows before the last, which is the temporal holdout.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.models import fitted_algorithms
from benchmarks.models.aggregate import AggregateSettings
from benchmarks.models.algorithms import BIAS_ONLY, REFERENCE
from benchmarks.models.report_model import CohortResult, WindowResult
from benchmarks.models.split_metrics import Arrays
from marquee.data.dataset import Dataset
from marquee.data.side_information import SideInformation
from marquee.data.splits import Split
from marquee.evaluation import baselines, offline, prediction_intervals
from marquee.evaluation.baselines import Candidate
from marquee.evaluation.paired_test import PairedComparison, paired_bootstrap
from marquee.models import cohort_preferences, surprise_svd
from marquee.models.trainer_port import no_progress
from marquee.registry.manifest import Metric
from marquee.registry.trained_model import TrainedModel
from marquee.scoring.cohort_scores import demographic_cohorts, score_cohorts
from marquee.training.params import Params
from marquee.training.train_model import train_model

Floats = NDArray[np.float64]
Ints = NDArray[np.integer]

WINDOW_LENGTH = 0.1
WINDOW_STARTS = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""Start of each window. The first only calibrates intervals; the last is the temporal holdout."""
PRIOR_STRENGTHS = (300.0, 3000.0, 10_000.0, 30_000.0, 100_000.0)
SERVED, WITHOUT_TIME, POPULAR = "served", "without recent popularity", "popular"
_COHORT_METRICS = ("ndcg@10", "ndcg@20")


def split_window(dataset: Dataset, start: float) -> Split:
    """Test the ratings from the fraction ``start`` on, for one window; train on everything before."""
    times = dataset.ratings.times
    begin = int(times[int(len(times) * start)])
    is_last = start + WINDOW_LENGTH > 1 - 1e-9
    end = int(times[-1]) + 1 if is_last else int(times[int(len(times) * (start + WINDOW_LENGTH))])
    until_end = dataset.without_ratings(times >= end)
    in_window = until_end.ratings.times >= begin
    train = until_end.without_ratings(in_window).watch_sessions_before(begin)
    return Split(f"from {start:.0%}", train, until_end.ratings.where(in_window))


def measure_window(split: Split, side_information: SideInformation, params: Params) -> Arrays:
    """Measure the served models and their baselines on one window.

    - by rating: ``users``, ``known`` and the residuals ``error.<model>``
    - by user with a liked item (``ranked_users``): ``ndcg.<list>``
    - by such user without ratings before the window (``new_users``): ``popular.<metric>`` and
      ``<prior strength>.<metric>`` of the cohort lists
    """
    model = train_model(split.train, params)
    reference = surprise_svd.fit(split.train, params.trainers["surprise_svd"], params.seed, no_progress)
    low, high = split.train.rating_min, split.train.rating_max
    candidates = {
        SERVED: baselines.model_candidate(model),
        REFERENCE: Candidate("", lambda u, i: np.clip(reference.predict(u, i), low, high)),
        BIAS_ONLY: baselines.bias_baseline(split.train),
    }
    arrays: Arrays = {"users": split.test.users}
    for name, candidate in candidates.items():
        arrays[f"error.{name}"], arrays["known"] = offline.residuals(candidate, split)
    return arrays | _measure_lists(model, split, params) | _measure_new_users(model, split, side_information)


def _measure_lists(model: TrainedModel, split: Split, params: Params) -> Arrays:
    """Measure the ranker as it is served, without recent popularity, and the popular list."""
    without_time = fitted_algorithms.with_ranker("ease", trend_exponent=0.0, popularity_weight=0.0)
    lists = {
        SERVED: baselines.model_candidate(model),
        WITHOUT_TIME: without_time(split.train, params).candidate,
        POPULAR: baselines.popularity_baseline(model),
    }
    arrays: Arrays = {}
    for name, candidate in lists.items():
        ranking = offline.rank(candidate, split)
        arrays["ranked_users"] = ranking.users
        arrays[f"ndcg.{name}"] = offline.ranking_metrics(ranking)["ndcg@10"]
    return arrays


def _measure_new_users(model: TrainedModel, split: Split, side_information: SideInformation) -> Arrays:
    """Measure the lists of users known only by their side information."""
    counts = np.bincount(split.train.ratings.users, minlength=split.train.n_users)
    new = replace(split, test=split.test.where(counts[split.test.users] == 0))
    popular = offline.rank(baselines.popularity_baseline(model), new)
    arrays: Arrays = {"new_users": popular.users}
    arrays |= {f"popular.{m}": v for m, v in offline.ranking_metrics(popular).items() if m in _COHORT_METRICS}
    for strength in PRIOR_STRENGTHS:
        with_cohorts = cohort_preferences.with_cohorts(model, side_information, strength)
        ndcg = offline.ranking_by_user(_cohort_candidate(with_cohorts, side_information), new)
        arrays |= {f"{_format(strength)}.{metric}": ndcg[metric] for metric in _COHORT_METRICS}
    return arrays


def _format(strength: float) -> str:
    return f"{strength:,.0f}"


def _cohort_candidate(model: TrainedModel, side_information: SideInformation) -> Candidate:
    """Return a candidate that ranks by each user's cohorts, as it is served."""
    row_by_name = {name: row for row, name in enumerate(model.cohort_names)}

    def score(user: int) -> Floats:
        attributes = side_information.users.get(model.user_ids[user], {})
        age = attributes.get("age", "")
        names = demographic_cohorts(
            int(age) if age.isdecimal() else None,
            attributes.get("gender", ""),
            attributes.get("occupation", ""),
        )
        rows = [row_by_name[name] for name in names if name in row_by_name]
        weights = np.ones(len(rows), np.float32)
        return score_cohorts(model.popularity, model.cohort_scores[rows], weights).astype(float)

    return Candidate("cohort", score=lambda users: np.stack([score(u) for u in users.tolist()]))


def aggregate_windows(
    start: float, windows: Sequence[Arrays], previous: Sequence[Arrays], settings: AggregateSettings
) -> WindowResult:
    """Return the metrics of one window, or of several together.

    ``previous`` holds the window before each, on which its intervals are calibrated.
    """
    users, known = _concatenate(windows, "users"), _concatenate(windows, "known")
    groups = {"all": known >= 0, "known": known > 0, "new": known == 0}
    groups = {group: rows for group, rows in groups.items() if rows.any()}
    rmse = {
        name: {
            group: _mean(_concatenate(windows, f"error.{name}") ** 2, users, rows, settings, root=True)
            for group, rows in groups.items()
        }
        for name in (SERVED, REFERENCE, BIAS_ONLY)
    }
    covered = np.concatenate([_is_covered(*pair) for pair in zip(windows, previous, strict=True)])
    coverage = {group: _mean(covered, users, rows, settings) for group, rows in groups.items()}
    ranked = _concatenate(windows, "ranked_users")
    ndcg = {
        name: _mean(_concatenate(windows, f"ndcg.{name}"), ranked, ranked >= 0, settings)
        for name in (SERVED, WITHOUT_TIME, POPULAR)
    }
    new_users = len(np.unique(users[known == 0]))
    return WindowResult(start, len(users), len(np.unique(users)), new_users, rmse, ndcg, coverage)


def aggregate_cohorts(windows: Mapping[float, Arrays], params: Params) -> CohortResult:
    """Compare the cohort lists with the popular list on the past windows and on the temporal holdout."""
    last = max(windows)
    past = [arrays for start, arrays in windows.items() if start < last]
    served = _format(cohort_preferences.PRIOR_STRENGTH)
    by_strength = {
        _format(strength): _compare_with_popular(past, _format(strength), params) for strength in PRIOR_STRENGTHS
    }
    return CohortResult(by_strength, _compare_with_popular([windows[last]], served, params), served)


def _compare_with_popular(windows: Sequence[Arrays], strength: str, params: Params) -> list[PairedComparison]:
    """Compare NDCG at 10 and at 20; the result is empty without new users."""
    if not len(_concatenate(windows, "new_users")):
        return []
    comparisons = []
    for metric in _COHORT_METRICS:
        cohort, popular = (_concatenate(windows, f"{name}.{metric}").astype(float) for name in (strength, "popular"))
        comparisons.append(
            paired_bootstrap(
                metric,
                "popularity",
                (cohort, popular),
                np.ones(len(cohort)),
                params.release_policy,
                params.evaluation,
                params.seed,
            )
        )
    return comparisons


def _is_covered(window: Arrays, previous: Arrays) -> Floats:
    intervals = prediction_intervals.calibrate(_errors(previous), previous["known"].astype(np.int64))
    covered = prediction_intervals.is_covered(intervals, _errors(window), window["known"].astype(np.int64))
    return covered.astype(np.float64)


def _errors(arrays: Arrays) -> Floats:
    return arrays[f"error.{SERVED}"].astype(np.float64)


def _concatenate(windows: Sequence[Arrays], name: str) -> NDArray[Any]:
    return np.concatenate([arrays[name] for arrays in windows])


def _mean(
    values: Floats, users: Ints, rows: NDArray[np.bool_], settings: AggregateSettings, *, root: bool = False
) -> Metric:
    """Return the mean of the selected ``values``, or its root, with its interval over their users."""
    _, user_index, counts = np.unique(users[rows], return_inverse=True, return_counts=True)
    sums = np.bincount(user_index, values[rows], len(counts)).astype(np.float64)
    return settings.ratio(sums, counts.astype(np.float64), root=root)
