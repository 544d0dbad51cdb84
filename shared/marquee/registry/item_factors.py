"""The two linear heads: one rates movies, one ranks them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from marquee.registry.manifest import Manifest
from marquee.scoring.arrays import Floats, no_cohorts

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ALL = slice(None)


class ItemFactors(msgspec.Struct, frozen=True, eq=False):
    """All of an artifact that does not grow with the users; the arrays are read-only."""

    manifest: Manifest
    movie_ids: tuple[str, ...]
    items: dict[str, int]  # movie_id -> row
    item_vectors: Floats  # [n_items, k]
    item_biases: Floats  # [n_items]
    rank_items: Floats  # [n_items, r]
    rank_history: Floats  # [n_items, r]
    popularity: Floats  # [n_items]
    prior_mean: Floats  # [k + 1] of theta = [vector, bias]
    prior_precision: Floats  # [k + 1, k + 1]
    cohorts: Mapping[str, int] = {}  # a cohort's name -> row; empty: none are known
    cohort_scores: Floats = msgspec.field(default_factory=no_cohorts)  # [n_cohorts, n_items]


def predict_ratings(
    side: ItemFactors, vector: Floats, bias: float, rows: Sequence[int] | slice = _ALL
) -> Floats:
    """The predicted rating of every movie, [n_items], or of those in ``rows``; not clipped to the scale."""
    ratings: Floats = side.item_vectors[rows] @ vector
    ratings += side.item_biases[rows]
    ratings += np.float32(side.manifest.mean + bias)
    return ratings


def query_vector(side: ItemFactors, items: NDArray[np.integer], weights: Floats) -> Floats:
    """What the ranking head makes of a history, [r]: a movie's score is its vector's product with this.

    A movie watched a second ago counts at once: nothing stored of the user is needed.
    """
    found: Floats = weights @ side.rank_history.take(items, axis=0)
    return found


def ranking_scores(side: ItemFactors, items: NDArray[np.integer], weights: Floats) -> Floats:
    """The ranking score of every movie, [n_items], for a user who has seen ``items``."""
    scores: Floats = side.rank_items @ query_vector(side, items, weights)
    return scores
