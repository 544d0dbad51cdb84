"""Preferences of demographic groups and genres, for users known only by their cohorts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from marquee.data.side_information import SideInformation, split_genres
from marquee.registry.trained_model import TrainedModel
from marquee.scoring.cohort_scores import demographic_cohorts, genre_cohort

PRIOR_STRENGTH = 10_000.0
"""Prior weight of the population average in a cohort's preferences.

It is large because small cohorts are noisy, and because the effects of age, gender and occupation are summed as if
independent. Chosen on temporal backtests: 300 ranks worse than the popular list, 10,000 better (docs/models.md).
"""

GENRE_LOG_ODDS = 1.0
"""Log odds ratio of choosing an item of a genre that the user states to like. An assumption, not an estimate: no
available data set has both stated interests and watch sessions.
"""


def with_cohorts(
    model: TrainedModel, side_information: SideInformation, prior_strength: float = PRIOR_STRENGTH
) -> TrainedModel:
    """Return ``model`` with the cohorts of ``side_information``; the same model if there are none."""
    scores_by_name = {
        **_demographic_scores(model, side_information, prior_strength),
        **_genre_scores(model, side_information),
    }
    if not scores_by_name:
        return model
    names = sorted(scores_by_name)
    scores = np.stack([scores_by_name[name] for name in names]).astype(np.float32)
    return replace(model, cohort_names=names, cohort_scores=np.ascontiguousarray(scores))


def _demographic_scores(
    model: TrainedModel, side_information: SideInformation, prior_strength: float
) -> dict[str, NDArray[np.float64]]:
    """Return, by cohort, the log ratio of its preference for each item to that of all users, [n_items]."""
    h, n_items = model.histories, len(model.movie_ids)
    totals = np.bincount(h.items, h.weights, n_items)
    if not totals.any():
        return {}
    members = find_members(model.user_ids, side_information)
    counts = np.empty((len(members), n_items))
    for row, users in enumerate(members.values()):
        entries = np.concatenate([np.arange(h.indptr[u], h.indptr[u + 1]) for u in users])
        counts[row] = np.bincount(h.items[entries], h.weights[entries], n_items)
    return dict(zip(members, compare_with_population(counts, totals.astype(float), prior_strength), strict=True))


def compare_with_population(
    counts: NDArray[np.float64], totals: NDArray[np.float64], prior_strength: float
) -> NDArray[np.float64]:
    """Return the log ratio of each cohort's preference to that of all users, [n_cohorts, n_items].

    ``counts`` [n_cohorts, n_items] and ``totals`` [n_items] are sums of the interactions' weights.
    """
    population = totals / totals.sum()
    smoothed = (counts + prior_strength * population) / (counts.sum(1, keepdims=True) + prior_strength)
    ratios = np.divide(smoothed, population, out=np.ones_like(smoothed), where=population > 0)
    logs: NDArray[np.float64] = np.log(ratios)
    return logs


def find_members(user_ids: Sequence[str], side_information: SideInformation) -> dict[str, list[int]]:
    """Return the user rows of each demographic cohort."""
    members: defaultdict[str, list[int]] = defaultdict(list)
    for user, user_id in enumerate(user_ids):
        row = side_information.users.get(user_id, {})
        age = row.get("age", "")
        for name in demographic_cohorts(
            int(age) if age.isdecimal() else None, row.get("gender", ""), row.get("occupation", "")
        ):
            members[name].append(user)
    return dict(members)


def _genre_scores(model: TrainedModel, side_information: SideInformation) -> dict[str, NDArray[np.float64]]:
    """Return, by genre, :data:`GENRE_LOG_ODDS` for each of its items and 0 for all others, [n_items]."""
    items_by_genre: defaultdict[str, list[int]] = defaultdict(list)
    for item, movie_id in enumerate(model.movie_ids):
        for name in split_genres(side_information.movies.get(movie_id, {}).get("genres", "")):
            items_by_genre[genre_cohort(name)].append(item)
    scores = {name: np.zeros(len(model.movie_ids)) for name in items_by_genre}
    for name, items in items_by_genre.items():
        scores[name][items] = GENRE_LOG_ODDS
    return scores
