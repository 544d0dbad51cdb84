"""Fairness measures of one release and arm: error and NDCG by user group, and exposure by movie group.

Intervals come from a bootstrap over users. Its weights are a function of the user id, as for the live accuracy.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from marquee.evaluation import exposure, metrics
from marquee.evaluation.bootstrap import INTERVAL, RESAMPLES, draw_poisson_weights, percentile_interval
from marquee.evaluation.movie_groups import MovieGroups
from marquee.evaluation.user_groups import UNKNOWN, split_members

RMSE, RMSE_GAP, UNKNOWN_SHARE = "rmse", "rmse_gap", "unknown_share"
NDCG, NDCG_GAP, LIKED_SHARE = "ndcg", "ndcg_gap", "liked_share"
EXPOSURE_GINI, EXPOSURE_SHARE, EXPOSURE_TOP = "exposure_gini", "exposure_share", "exposure_top"
MIN_USERS = 20
"""Minimum number of users of a group. A smaller group's value would be noise, and could reveal a person."""
Floats = NDArray[np.float64]


class FairnessValue(NamedTuple):
    """Value of a metric, with its 95 % interval where there is one."""

    metric: str
    kind: str
    group: str
    users: int
    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class UserSums:
    """Sums of n users and their counts: squared errors of ratings (``metric`` RMSE), or the NDCG of a list."""

    user_ids: Sequence[str]
    sums: Floats
    counts: Floats
    metric: str = RMSE


def measure_all(found: UserSums) -> FairnessValue:
    """Return the metric over all users."""
    weights = _draw(found.user_ids)
    value = _ratio(found, found.sums.sum(), found.counts.sum())
    return _describe(found.metric, "", "", len(found.user_ids), float(value), _sample(found, weights, slice(None)))


def measure_ndcg(liked: Iterable[tuple[str, int | None]]) -> UserSums:
    """Return the NDCG@10 of each user's list. ``liked`` has the position of each liked movie; None: not listed."""
    positions: dict[str, list[int | None]] = {}
    for user_id, position in liked:
        positions.setdefault(user_id, []).append(position)
    hits = np.zeros((len(positions), exposure.LENGTH), bool)
    for row, found in enumerate(positions.values()):
        hits[row, [position - 1 for position in found if position is not None]] = True
    counts = np.array([len(found) for found in positions.values()], np.int64)
    ndcg = metrics.ndcg(hits, counts) if len(counts) else np.empty(0)
    return UserSums(list(positions), ndcg, np.ones(len(counts)), NDCG)


def measure_groups(errors: UserSums, kind: str, labels: Sequence[str]) -> Iterator[FairnessValue]:
    """Yield the metric of each group of at least :data:`MIN_USERS` users, and their gap.

    Beside errors, also yield the share of unknown users.
    """
    weights, samples, values = _draw(errors.user_ids), [], []
    users = 0
    for group, rows in split_members(labels):
        n = int(rows.sum())
        if group == UNKNOWN or n < MIN_USERS:
            continue
        found = _sample(errors, weights, rows)
        value = float(_ratio(errors, errors.sums[rows].sum(), errors.counts[rows].sum()))
        samples.append(found)
        values.append(value)
        users += n
        yield _describe(errors.metric, kind, group, n, value, found)
    if len(values) > 1:
        gaps = np.nanmax(samples, axis=0) - np.nanmin(samples, axis=0)
        yield _describe(
            RMSE_GAP if errors.metric == RMSE else NDCG_GAP, kind, "", users, max(values) - min(values), gaps
        )
    if errors.metric != RMSE:
        return
    unknown = sum(label == UNKNOWN for label in labels)
    yield FairnessValue(UNKNOWN_SHARE, kind, "", len(labels), unknown / len(labels))


def measure_exposure(
    shown: Iterable[tuple[str, str, float]], items: Mapping[str, int], groups: Mapping[str, MovieGroups]
) -> Iterator[FairnessValue]:
    """Yield the Gini coefficient of exposure over the items, the share of the top, and that of each group by kind.

    ``shown`` has the exposure of each user and movie; ``items`` the row of each movie of the model. Movies that the
    model does not know are left out.
    """
    rows = [(user, items[movie], value) for user, movie, value in shown if movie in items]
    user_ids = sorted({user for user, _, _ in rows})
    if len(user_ids) < MIN_USERS:
        return
    index = {user: number for number, user in enumerate(user_ids)}
    users = np.array([index[user] for user, _, _ in rows])
    movies, values = np.array([movie for _, movie, _ in rows]), np.array([value for _, _, value in rows])
    weights, n_items = _draw(user_ids), len(items)
    total = np.bincount(movies, values, n_items).astype(np.float64)
    samples = np.stack([np.bincount(movies, values * once[users], n_items) for once in weights])
    ginis = np.array([exposure.gini(sample) for sample in samples])
    gini = exposure.gini(total)
    # Resamples have fewer distinct users, which biases their inequality upward.
    yield _describe(EXPOSURE_GINI, "", "", len(user_ids), gini, np.minimum(ginis - np.nanmean(ginis) + gini, 1.0))
    top, tops = exposure.share_of_top(total), np.array([exposure.share_of_top(sample) for sample in samples])
    yield _describe(EXPOSURE_TOP, "", "", len(user_ids), top, np.minimum(tops - np.nanmean(tops) + top, 1.0))
    for kind, grouped in groups.items():
        shares, resampled = grouped.parts @ total / total.sum(), samples @ grouped.parts.T
        resampled /= np.maximum(resampled.sum(1, keepdims=True), 1e-12)
        for number, name in enumerate(grouped.names):
            yield _describe(EXPOSURE_SHARE, kind, name, len(user_ids), float(shares[number]), resampled[:, number])


def _draw(user_ids: Sequence[str]) -> Floats:
    """Return the weights of the users in each resample, [RESAMPLES, n_users]."""
    return draw_poisson_weights(user_ids, RESAMPLES).T.astype(np.float64)


def _sample(found: UserSums, weights: Floats, rows: NDArray[np.bool_] | slice) -> Floats:
    return _ratio(found, weights[:, rows] @ found.sums[rows], weights[:, rows] @ found.counts[rows])


def _ratio(found: UserSums, sums: Floats, counts: Floats) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        ratios: Floats = sums / counts
    return np.sqrt(ratios) if found.metric == RMSE else ratios


def _describe(metric: str, kind: str, group: str, users: int, value: float, samples: Floats) -> FairnessValue:
    finite = samples[np.isfinite(samples)]
    low, high = percentile_interval(finite, INTERVAL) if len(finite) else (None, None)
    return FairnessValue(metric, kind, group, users, value, low, high)
