"""What groups of users prefer, counted: for users of whom only the group is known."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from marquee.data.side_information import SideInformation
from marquee.registry.trained_model import TrainedModel
from marquee.scoring.cohort_scores import demographic_cohorts, genre_cohort

PRIOR_STRENGTH = 10_000.0
"""So much weight of the average user's is mixed into each group's: a small group is not taken at its word, and age,
gender and occupation, which are added up as if they had nothing to do with one another, do not say things thrice. With
300 the lists are worse than the popular one, and with this better: docs/models.md shows both, on cuts in time."""

LIKED = 1.0
"""The logarithm of how much likelier an item of a genre is for who says that he likes it. Not learnt: no data
set that we have holds both the words and the watch sessions."""


def with_cohorts(
    model: TrainedModel, facts: SideInformation, prior_strength: float = PRIOR_STRENGTH
) -> TrainedModel:
    """``model`` with the cohorts that ``facts`` tell of; the same model where they tell of none."""
    rows = {**_demographic(model, facts, prior_strength), **_genres(model, facts)}
    if not rows:
        return model
    names = sorted(rows)
    scores = np.stack([rows[name] for name in names]).astype(np.float32)
    return replace(model, cohort_names=names, cohort_scores=np.ascontiguousarray(scores))


def _demographic(
    model: TrainedModel, facts: SideInformation, prior_strength: float
) -> dict[str, NDArray[np.float64]]:
    """The logarithm of each group's preference for each item over everybody's."""
    h, n_items = model.histories, len(model.movie_ids)
    everybody = np.bincount(h.items, h.weights, n_items)
    if not everybody.any():
        return {}
    fraction = everybody / everybody.sum()
    found: dict[str, NDArray[np.float64]] = {}
    for name, users in _members(model, facts).items():
        rows = np.concatenate([np.arange(h.indptr[u], h.indptr[u + 1]) for u in users])
        counts = np.bincount(h.items[rows], h.weights[rows], n_items)
        mixed = (counts + prior_strength * fraction) / (counts.sum() + prior_strength)
        found[name] = np.log(np.divide(mixed, fraction, out=np.ones(n_items), where=fraction > 0))
    return found


def _members(model: TrainedModel, facts: SideInformation) -> dict[str, list[int]]:
    members: defaultdict[str, list[int]] = defaultdict(list)
    for user, user_id in enumerate(model.user_ids):
        row = facts.users.get(user_id, {})
        age = row.get("age", "")
        for name in demographic_cohorts(
            int(age) if age.isdigit() else None, row.get("gender", ""), row.get("occupation", "")
        ):
            members[name].append(user)
    return dict(members)


def _genres(model: TrainedModel, facts: SideInformation) -> dict[str, NDArray[np.float64]]:
    items_of: defaultdict[str, list[int]] = defaultdict(list)
    for item, movie_id in enumerate(model.movie_ids):
        for name in _split(facts.movies.get(movie_id, {}).get("genres", "")):
            items_of[genre_cohort(name)].append(item)
    found = {name: np.zeros(len(model.movie_ids)) for name in items_of}
    for name, items in items_of.items():
        found[name][items] = LIKED
    return found


def _split(genres: str) -> Iterable[str]:
    return (name for name in genres.split("|") if name)
