"""Item factors of an artifact and its two models: one predicts ratings, one ranks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from marquee.registry.manifest import Manifest
from marquee.registry.movie_metadata import NO_FILE, MetadataFile, MovieMetadata
from marquee.scoring.arrays import Floats, empty_matrix

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ALL = slice(None)


class ItemFactors(msgspec.Struct, frozen=True, eq=False):
    """The part of an artifact that does not grow with the users; the arrays are read-only."""

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
    manifest_sha256: str = ""  # Of the bytes that were read; empty for a model in memory.
    cohorts: Mapping[str, int] = {}  # Name of a cohort -> row of ``cohort_scores``; may be empty.
    cohort_scores: Floats = msgspec.field(default_factory=empty_matrix)  # [n_cohorts, n_items]
    prior_implicit: Floats = msgspec.field(default_factory=empty_matrix)  # [n_items, k + 1]; may be empty.
    metadata_file: MetadataFile = NO_FILE
    trend: Floats | None = None  # [n_items], the factor of growth in popularity in each row of ``rank_items``.

    @property
    def metadata(self) -> MovieMetadata:
        """The metadata of the movies. Raises :class:`ArtifactRefused` if they are not valid."""
        return self.metadata_file.read()


def predict_ratings(factors: ItemFactors, vector: Floats, bias: float, rows: Sequence[int] | slice = _ALL) -> Floats:
    """Return the predicted rating of every item, [n_items], or of those in ``rows``; not clipped to the scale."""
    ratings: Floats = factors.item_vectors[rows] @ vector
    ratings += factors.item_biases[rows]
    ratings += np.float32(factors.manifest.mean + bias)
    return ratings


def query_vector(factors: ItemFactors, items: NDArray[np.integer], weights: Floats) -> Floats:
    """Return the query vector of a history, [r]; its product with an item's ranking vector is the item's score.

    It needs no stored user vector, so an item watched a second ago counts at once.
    """
    query: Floats = weights @ factors.rank_history.take(items, axis=0)
    return query


def history_terms(factors: ItemFactors, items: NDArray[np.integer], weights: Floats) -> Floats:
    """Return the weighted vectors of a history, [n_history, r]; the query vector is their sum."""
    terms: Floats = factors.rank_history.take(items, axis=0) * weights[:, None]
    return terms


def ranking_scores(factors: ItemFactors, items: NDArray[np.integer], weights: Floats) -> Floats:
    """Return the ranking score of every item, [n_items], for a user with the history ``items``."""
    scores: Floats = factors.rank_items @ query_vector(factors, items, weights)
    return scores
