"""EASE ranker of low rank: an item-to-item ridge regression in closed form, cut to ``rank`` columns.

The regression is EASE (Steck, "Embarrassingly Shallow Autoencoders for Sparse Data", WWW 2019) with two changes.

- Input and target differ. The weight of an item in the history is how much it tells about the user. The target
  is how right it would be to recommend it. EASE uses one number for both.
- The ridge grows with an item's squared weight, as if items were dropped at random from the histories (Steck,
  "Autoencoders that don't overfit towards the Identity", NeurIPS 2020).

Reduced-rank regression (Izenman, 1975) cuts it: it keeps the directions in which scores differ between users, not
those of the matrix itself. NDCG@10 on fold 0 of MovieLens 100K: EASE .382, this model .396 at full rank and .391 at
rank 32.

The regression knows nothing of time, and recent popularity alone ranks the temporal holdout better. So recent
popularity is part of the score: :func:`~marquee.models.ranker_port.add_popularity_terms`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from marquee.data.interactions import WeightedInteractions
from marquee.models.popularity import Popularity
from marquee.models.ranker_port import RankingFactors, add_popularity_terms
from marquee.models.trainer_port import read_section

Floats = NDArray[np.float64]


class EaseParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters of the EASE ranker.

    - ``rank``: columns of the factors, that of recent popularity included
    - ``ridge``: ridge of every item
    - ``dropout``: fraction of an item's squared weight that is added to its ridge
    - ``dense_max_items``: largest catalog for the dense inverse; above it PureSVD takes over
      (:func:`~marquee.models.ranker_port.choose_ranker`)
    - ``trend_exponent``: exponent of an item's growth in popularity, by which its score is multiplied; 0 switches
      it off
    - ``popularity_weight``: weight of recent popularity in the score; 0 switches it off
    """

    rank: int
    ridge: float
    dropout: float
    dense_max_items: int
    trend_exponent: float
    popularity_weight: float


def fit(
    interactions: WeightedInteractions,
    shape: tuple[int, int],
    popularity: Popularity,
    params: Mapping[str, Any],
    seed: int,
) -> RankingFactors:
    """Fit the EASE ranker. The factors have ``rank`` columns whatever the data."""
    section = read_section(params, EaseParams, "rankers.ease")
    positions = (interactions.users, interactions.items)
    history = csr_array((interactions.weights, positions), shape=shape)
    targets = csr_array((interactions.targets, positions), shape=shape)
    weights = solve_regression(history, targets, section.ridge, section.dropout)
    rank = section.rank - (1 if section.popularity_weight else 0)
    factors = reduce_rank(history, weights, rank, seed)
    return add_popularity_terms(factors, popularity, section.trend_exponent, section.popularity_weight)


def solve_regression(history: csr_array, targets: csr_array, ridge: float, dropout: float = 0.0) -> Floats:
    """Return the item-to-item weights B [n_items, n_items] of ``history @ B`` ~ ``targets``, in closed form.

    The diagonal of B is 0: an item never recommends itself. With ``targets`` equal to ``history`` and no
    ``dropout`` this is EASE.
    """
    gram = (history.T @ history).toarray()
    gram[np.diag_indices_from(gram)] += ridge + dropout * np.diag(gram)
    inverse = np.linalg.inv(gram)
    weights: Floats = inverse @ (history.T @ targets).toarray()
    # One Lagrange multiplier a column keeps the diagonal at 0.
    weights -= inverse * (np.diag(weights) / np.diag(inverse))
    np.fill_diagonal(weights, 0)
    return weights


def reduce_rank(history: csr_array, weights: Floats, rank: int, seed: int) -> RankingFactors:
    """Return the factors whose scores are nearest to ``history @ weights`` in least squares.

    Columns beyond the rank of ``weights`` are 0.
    """
    directions = _leading_score_directions(history, weights, min(rank, weights.shape[0]), seed)
    return RankingFactors(_pad_columns(weights @ directions, rank), _pad_columns(directions, rank))


def _leading_score_directions(history: csr_array, weights: Floats, rank: int, seed: int, passes: int = 6) -> Floats:
    """Return the leading right singular vectors [n_items, rank] of ``history @ weights``, without forming it.

    Subspace iteration (Halko, Martinsson and Tropp, 2011) on the Gram matrix of the scores. Signs are fixed.
    """
    n_items = weights.shape[0]
    width = min(rank + 16, n_items)
    basis = np.linalg.qr(np.random.default_rng(seed).standard_normal((n_items, width)))[0]
    for _ in range(passes):
        basis = np.linalg.qr(weights.T @ (history.T @ (history @ (weights @ basis))))[0]
    scores = history @ (weights @ basis)
    _, rotation = np.linalg.eigh(scores.T @ scores)
    directions = basis @ rotation[:, ::-1][:, :rank]
    signs = np.sign(directions[np.abs(directions).argmax(0), np.arange(rank)])
    signed: Floats = directions * signs
    return signed


def _pad_columns(columns: Floats, width: int) -> Floats:
    """Return ``columns`` [n, k] with columns of zeros up to ``width``."""
    return np.pad(columns, ((0, 0), (0, width - columns.shape[1])))
