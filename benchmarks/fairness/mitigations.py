"""Mitigations and their cost: calibrated re-ranking, exposure quotas, and shrunk corrections of a group's ratings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from benchmarks.fairness import user_metrics
from benchmarks.fairness.fair_windows import (
    GENRE,
    POPULARITY,
    Data,
    FairWindow,
    Floats,
    Ints,
    group_movies,
    label_users,
)
from benchmarks.fairness.fairness_results import MitigationRow
from benchmarks.fairness.group_statistics import Observations, Resampling
from benchmarks.fairness.provider_analysis import share_exposure, share_merit
from marquee.evaluation import exposure, movie_groups
from marquee.evaluation.bootstrap import EvaluationParams
from marquee.evaluation.exposure import LENGTH
from marquee.registry.manifest import Metric

LISTS, RATINGS = "lists", "ratings"
NONE, CALIBRATED, QUOTA, SHRINKAGE = "none", "calibrated re-ranking", "exposure quota", "group correction"
LAMBDAS, QUOTAS = (0.2, 0.4, 0.6, 0.8, 0.9, 0.99), (1, 2, 3, 5)
STRENGTHS, KINDS = (10_000.0, 1_000.0, 100.0, 0.0), ("gender", "age", "activity")
MIN_USERS = 20
"""Users that a group needs to count for a gap."""
POOL = 100
"""Number of best items from which a list is calibrated."""


def measure_list_mitigations(
    data: Data, windows: Sequence[FairWindow], resampling: Resampling, params: EvaluationParams
) -> list[MitigationRow]:
    """Return a row for each setting: NDCG@10 against the Gini coefficient of exposure."""
    users = np.concatenate([w.ranked for w in windows])
    baseline = np.concatenate([w.ndcg for w in windows])
    rows = []
    for family, name, lists in _rerank(data, windows):
        ndcg = np.concatenate([user_metrics.rate_lists(w, one) for w, one in zip(windows, lists, strict=True)])
        quality, cost = (_mean(users, values, resampling) for values in (ndcg, ndcg - baseline))
        joined = np.concatenate(lists)
        gini = exposure.exposure_gini(joined, windows[0].split.train.n_items, params, data.params.seed)
        others = {
            "tail exposure": _tail_exposure(data, windows, lists),
            "tail merit": _tail_merit(data, windows),
            "miscalibration": _miscalibration(data, windows, lists),
        }
        rows.append(MitigationRow(LISTS, family, name, quality, gini, cost, others))
    return _mark_efficient(rows, higher_is_better=True)


def measure_rating_mitigations(data: Data, served: Sequence[FairWindow], resampling: Resampling) -> list[MitigationRow]:
    """Return a row for each setting: RMSE against the largest gap of RMSE. ``served`` begins with a window before."""
    windows = served[1:]
    users = np.concatenate([w.split.test.users for w in windows])
    given = np.concatenate([w.split.test.values for w in windows])
    everyone, baseline = np.ones(len(users), bool), np.concatenate([w.predicted for w in windows])
    rows = []
    for name, predicted in _correct(data, served):
        joined = np.concatenate(predicted)
        observed = user_metrics.observe_ratings(data, windows, predicted, label_users)
        value, samples = resampling.ratios(observed[user_metrics.RMSE], everyone)
        before = Observations(users, (baseline - given) ** 2, np.ones(len(users)), {}, root=True)
        old, old_samples = resampling.ratios(before, everyone)
        gaps = {f"gap by {kind}": measure_gap(observed[user_metrics.RMSE], kind, resampling)[0] for kind in KINDS}
        biases = {
            f"largest mean error by {kind}": _bias(observed[user_metrics.BIAS], kind, resampling) for kind in KINDS
        }
        kind = max(KINDS, key=lambda one: gaps[f"gap by {one}"])
        gap = resampling.metric(*measure_gap(observed[user_metrics.RMSE], kind, resampling))
        cost = resampling.metric(value - old, samples - old_samples)
        family = NONE if np.array_equal(joined, baseline) else SHRINKAGE
        rows.append(MitigationRow(RATINGS, family, name, resampling.metric(value, samples), gap, cost, gaps | biases))
    return _mark_efficient(rows, higher_is_better=False)


def rerank_calibrated(scores: Floats, profile: Floats, parts: Floats, weight: float) -> Ints:
    """Return the list of one user: greedy maximum of (1 - weight) * relevance - weight * miscalibration (Steck, 2018).

    ``scores`` [n_items], -inf for seen items; relevance is the score scaled to [0, 1] within the best ``POOL`` items.
    ``profile`` [n_genres]: shares of the user's profile. ``parts`` [n_genres, n_items].
    """
    pool = np.argsort(-scores, kind="stable")[:POOL]
    pool = pool[np.isfinite(scores[pool])]
    best, worst = scores[pool[0]], scores[pool[-1]]
    relevance = (scores[pool] - worst) / max(best - worst, 1e-12)
    genres, chosen = parts[:, pool].T, np.zeros(len(pool), bool)
    total, gained, order = np.zeros(len(profile)), 0.0, []
    for length in range(1, LENGTH + 1):
        miscalibration = user_metrics.divergence(profile[None, :], (total + genres) / length)
        objective = (1 - weight) * (gained + relevance) - weight * miscalibration
        objective[chosen] = -np.inf
        pick = int(np.argmax(objective))
        chosen[pick], total, gained = True, total + genres[pick], gained + relevance[pick]
        order.append(pool[pick])
    return np.array(order)


def fill_quota(scores: Floats, members: np.ndarray, quota: int) -> Ints:
    """Return the best ten items of which at least ``quota`` are ``members`` [n_items], best first."""
    order = np.argsort(-scores, kind="stable")
    order = order[np.isfinite(scores[order])]
    inside, outside = order[members[order]][:LENGTH], order[~members[order]]
    n_inside = max(quota, int(members[order[:LENGTH]].sum()))
    chosen = np.concatenate([inside[:n_inside], outside[: LENGTH - min(n_inside, len(inside))]])
    return chosen[np.argsort(-scores[chosen], kind="stable")][:LENGTH]


def _rerank(data: Data, windows: Sequence[FairWindow]) -> Iterator[tuple[str, str, list[Ints]]]:
    yield NONE, "as served", [w.lists[:, :LENGTH] for w in windows]
    for weight in LAMBDAS:
        yield CALIBRATED, f"λ = {weight:g}", [_calibrate(data, window, weight) for window in windows]
    for quota in QUOTAS:
        lists = []
        for window in windows:
            groups = group_movies(data, window)[POPULARITY]
            tail = groups.parts[groups.names.index(movie_groups.TAIL)] > 0
            lists.append(np.stack([fill_quota(scores, tail, quota) for scores in window.scores]))
        yield QUOTA, f"{quota} of 10 from the tail", lists


def _calibrate(data: Data, window: FairWindow, weight: float) -> Ints:
    """Return calibrated lists; users without a profile keep theirs."""
    parts = group_movies(data, window)[GENRE].parts
    rated = user_metrics.profile_matrix(window)
    profiles = user_metrics.genre_shares(parts, rated)
    return np.stack([
        rerank_calibrated(scores, profile, parts, weight) if has_profile else lists[:LENGTH]
        for scores, profile, has_profile, lists in zip(
            window.scores, profiles, rated.sum(1) > 0, window.lists, strict=True
        )
    ])  # fmt: skip


def _correct(data: Data, served: Sequence[FairWindow]) -> Iterator[tuple[str, list[Floats]]]:
    """Yield ratings of each window, corrected by the mean error of each group on the window before it.

    The correction of a group of n ratings is multiplied by n / (n + strength), which shrinks small groups towards none.
    """
    yield "as served", [w.predicted for w in served[1:]]
    for kind in KINDS:
        for strength in STRENGTHS:
            corrected = []
            for before, window in pairwise(served):
                offsets = _mean_errors(data, before, kind, strength)
                labels = np.array(label_users(data, window, window.split.test.users)[kind])
                shift = np.array([offsets.get(name, 0.0) for name in labels.tolist()])
                train = window.split.train
                corrected.append(np.clip(window.predicted - shift, train.rating_min, train.rating_max))
            yield f"{kind}, strength {strength:,.0f}", corrected


def _mean_errors(data: Data, window: FairWindow, kind: str, strength: float) -> dict[str, float]:
    labels = np.array(label_users(data, window, window.split.test.users)[kind])
    errors = window.predicted - window.split.test.values
    return {
        str(name): float(errors[labels == name].sum() / ((labels == name).sum() + strength))
        for name in np.unique(labels)
    }


def measure_gap(observed: Observations, kind: str, resampling: Resampling) -> tuple[float, Floats]:
    """Return the difference of RMSE between the worst and the best group of at least 20 users."""
    labels = np.array(observed.labels[kind])
    found = [
        resampling.ratios(observed, labels == name)
        for name in np.unique(labels)
        if len(np.unique(observed.users[labels == name])) >= MIN_USERS
    ]
    values, samples = np.array([value for value, _ in found]), np.stack([sample for _, sample in found])
    return float(values.max() - values.min()), np.nanmax(samples, axis=0) - np.nanmin(samples, axis=0)


def _bias(observed: Observations, kind: str, resampling: Resampling) -> float:
    labels = np.array(observed.labels[kind])
    enough = [n for n in np.unique(labels) if len(np.unique(observed.users[labels == n])) >= MIN_USERS]
    return max(abs(resampling.ratios(observed, labels == name)[0]) for name in enough)


def _mean(users: Ints, values: Floats, resampling: Resampling) -> Metric:
    observed = Observations(users, values, np.ones(len(values)), {})
    return resampling.metric(*resampling.ratios(observed, np.ones(len(values), bool)))


def _tail_exposure(data: Data, windows: Sequence[FairWindow], lists: Sequence[Ints]) -> float:
    return float(np.mean(np.concatenate([
        share_exposure(groups.parts, one)[:, groups.names.index(movie_groups.TAIL)]
        for groups, one in zip((group_movies(data, w)[POPULARITY] for w in windows), lists, strict=True)
    ])))  # fmt: skip


def _tail_merit(data: Data, windows: Sequence[FairWindow]) -> float:
    return float(np.mean(np.concatenate([
        share_merit(groups.parts, w)[:, groups.names.index(movie_groups.TAIL)]
        for w, groups in ((w, group_movies(data, w)[POPULARITY]) for w in windows)
    ])))  # fmt: skip


def _miscalibration(data: Data, windows: Sequence[FairWindow], lists: Sequence[Ints]) -> float:
    observed = user_metrics.observe_lists(data, windows, lists, label_users)[user_metrics.MISCALIBRATION]
    return float(observed.sums.sum() / observed.counts.sum())


def _mark_efficient(rows: Sequence[MitigationRow], *, higher_is_better: bool) -> list[MitigationRow]:
    """Mark the rows for which no other is at least as good on both axes and better on one."""
    sign = -1 if higher_is_better else 1
    points = np.array([(sign * row.quality.value, row.unfairness.value) for row in rows])
    efficient = [not ((points <= point).all(1) & (points < point).any(1)).any() for point in points]
    return [
        MitigationRow(r.plot, r.family, r.name, r.quality, r.unfairness, r.cost, r.others, bool(is_efficient))
        for r, is_efficient in zip(rows, efficient, strict=True)
    ]
