"""Groups of movies, the provider side of fairness: popularity head to tail, genre, decade, and new movies.

A movie of several genres counts for each of them in equal parts, so that the parts of all groups add up to 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

UNKNOWN = "unknown"
HEAD, MIDDLE, TAIL, NEW = "head", "middle", "tail", "no rating before"
HEAD_SHARE, TAIL_SHARE = 0.2, 0.2
"""Fractions of all ratings that the most and the least popular movies hold (Abdollahpouri et al., 2019)."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class MovieGroups:
    """Groups of one kind. ``parts`` [n_groups, n_items]: the part of each item that counts for each group."""

    names: tuple[str, ...]
    parts: Floats


def group_by_popularity(counts: NDArray[np.integer] | Floats) -> MovieGroups:
    """Return the groups by number of ratings ``counts`` [n_items]: head, middle, tail, and no rating.

    The most rated movies that together hold :data:`HEAD_SHARE` of the ratings are the head; the least rated ones that
    hold :data:`TAIL_SHARE` are the tail.
    """
    order = np.argsort(-np.asarray(counts, np.float64), kind="stable")
    in_order = np.asarray(counts, np.float64)[order]
    before = np.cumsum(in_order) - in_order  # Ratings of more popular movies.
    labels = np.full(len(order), 1)
    total = in_order.sum()
    labels[before < HEAD_SHARE * total] = 0
    labels[before >= (1 - TAIL_SHARE) * total] = 2
    labels[in_order == 0] = 3
    rows = np.empty(len(order), int)
    rows[order] = labels
    return MovieGroups((HEAD, MIDDLE, TAIL, NEW), (rows == np.arange(4)[:, None]).astype(np.float64))


def group_by_names(names_by_item: Sequence[Sequence[str]]) -> MovieGroups:
    """Return a group for each name; an item without a name is of the group :data:`UNKNOWN`."""
    named = [sorted(set(names)) or [UNKNOWN] for names in names_by_item]
    groups = sorted({name for names in named for name in names})
    row = {name: number for number, name in enumerate(groups)}
    parts = np.zeros((len(groups), len(named)))
    for item, names in enumerate(named):
        for name in names:
            parts[row[name], item] = 1 / len(names)
    return MovieGroups(tuple(groups), parts)
