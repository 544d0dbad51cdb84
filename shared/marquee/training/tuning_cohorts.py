"""Choice of the shrinkage of cohort preferences, for users known only by their cohorts.

On the same past cuts as the ranking parameters, the lists of users without earlier interactions are compared.
"""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from marquee.data.dataset import Dataset
from marquee.data.interactions import WeightedInteractions
from marquee.data.side_information import SideInformation
from marquee.models.cohort_preferences import PRIOR_STRENGTH, compare_with_population, find_members
from marquee.models.popularity import count_all, decay_counts, smooth_counts
from marquee.training.tuning import (
    HALF_LIFE,
    MIN_USERS,
    PRIOR,
    TuningChoice,
    is_better,
    split_past,
)
from marquee.training.tuning_cuts import TuningParams, mark_pairs, ndcg_of_lists, sample_users, take

Floats = NDArray[np.float64]

STRENGTH = "cohorts.prior_strength"
STRENGTHS = (300.0, 1000.0, 3000.0, 10_000.0, 30_000.0, 100_000.0, 1e9)
"""The largest leaves popularity alone."""
_MAX_CELLS = 2e7  # Of an array [users, items].


def choose_cohort_strength(
    dataset: Dataset,
    side_information: SideInformation,
    choice: TuningChoice,
    params: TuningParams,
    fraction: float,
    seed: int,
    previous: TuningChoice,
) -> TuningChoice:
    """Return ``choice`` with the prior strength of cohort preferences that ranks best for new users.

    Without demographic cohorts, or with fewer than :data:`~marquee.training.tuning.MIN_USERS` new users, the choice
    is unchanged.
    """
    members = find_members(dataset.user_ids, side_information)
    if not members or not choice.chosen:
        return choice
    columns = [np.full(len(users), row) for row, users in enumerate(members.values())]
    positions = (np.concatenate(list(members.values())), np.concatenate(columns))
    membership = csr_array((np.ones(len(positions[0])), positions), shape=(dataset.n_users, len(members)))
    start = previous.chosen.get(STRENGTH, PRIOR_STRENGTH)
    strengths = sorted({start, *STRENGTHS})
    parts = [
        _measure(before, liked, membership, choice, strengths, params.max_users, dataset.n_items, seed)
        for before, liked in split_past(dataset, params.cuts, fraction)
    ]
    ndcg = dict(zip(strengths, np.concatenate(parts, axis=1), strict=True)) if parts else {}
    if not ndcg or len(ndcg[start]) < MIN_USERS:
        return choice
    best = max(strengths, key=lambda strength: float(ndcg[strength].mean()))
    chosen = best if is_better(ndcg[best], ndcg[start]) else start
    return msgspec.structs.replace(
        choice,
        configured={**choice.configured, STRENGTH: PRIOR_STRENGTH},
        start={**choice.start, STRENGTH: start},
        chosen={**choice.chosen, STRENGTH: chosen},
        ndcg={
            **choice.ndcg,
            "cohorts": float(ndcg[chosen].mean()),
            "popularity of new users": float(ndcg[max(strengths)].mean()),
        },
    )


def _measure(
    before: WeightedInteractions,
    liked: WeightedInteractions,
    membership: csr_array,
    choice: TuningChoice,
    strengths: list[float],
    max_users: int,
    n_items: int,
    seed: int,
) -> Floats:
    """Return the NDCG@10 of the new users of a cut with each strength, [n_strengths, n_users]."""
    n_users = membership.shape[0]
    is_known = np.bincount(before.users, minlength=n_users) > 0
    has_cohort = np.diff(membership.indptr) > 0
    liked = take(liked, ~is_known[liked.users] & has_cohort[liked.users])
    users = sample_users(np.unique(liked.users), min(max_users, int(_MAX_CELLS / n_items)), np.random.default_rng(seed))
    row = np.full(n_users, -1)
    row[users] = np.arange(len(users))
    relevant = mark_pairs(row, np.arange(n_items), liked, (len(users), n_items))
    weights = csr_array((before.weights, (before.users, before.items)), shape=(n_users, n_items))
    counts, totals = (membership.T @ weights).toarray(), count_all(before, n_items)
    decayed = decay_counts(before, n_items, choice.chosen[HALF_LIFE])
    recent = smooth_counts(totals, decayed, choice.chosen[PRIOR]).recent
    popular = np.log(np.maximum(recent, 1e-9))
    own = membership[users]
    return np.array(
        [
            ndcg_of_lists((popular + own @ compare_with_population(counts, totals, s)).astype(np.float32), relevant)
            for s in strengths
        ]
    ).reshape(len(strengths), -1)
