"""EASE ranker of low rank: an item-to-item ridge regression in closed form, cut to ``rank`` columns.

The regression is EASE (Steck, "Embarrassingly Shallow Autoencoders for Sparse Data", WWW 2019) with two changes.

- Input and target differ. The weight of an item in the history is how much it tells about the user. The target
  is how right it would be to recommend it. EASE uses one number for both.
- The ridge grows with an item's squared weight, as if items were dropped at random from the histories (Steck,
  "Autoencoders that don't overfit towards the Identity", NeurIPS 2020).

The objective (:mod:`marquee.models.item_regression`) is the same for every catalog. Only the way to apply the inverse
of its Gram matrix depends on the size: one dense matrix while it fits ``dense_gb``, conjugate gradients beyond.
:mod:`marquee.models.item_regression` cuts the solution. NDCG@10 on fold 0 of MovieLens 100K: EASE 0.382, this model
0.396 at full rank and 0.391 at rank 32.

The regression knows nothing of time, and recent popularity alone ranks the temporal holdout better. So recent
popularity is part of the score: :func:`~marquee.models.ranker_port.add_popularity_terms`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from marquee.data.interactions import WeightedInteractions
from marquee.models.dense_inverse import DenseInverse, dense_gram
from marquee.models.item_regression import InverseGram, ItemRegression, Regression, ScoreOperator, reduce_rank
from marquee.models.iterative_inverse import IterativeInverse
from marquee.models.popularity import Popularity
from marquee.models.ranker_port import RankingFactors, add_popularity_terms
from marquee.models.trainer_port import read_section

_BYTES_PER_GB = 1e9


class EaseParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters of the EASE ranker.

    - ``rank``: columns of the factors, that of recent popularity included
    - ``ridge``: ridge of every item
    - ``dropout``: fraction of an item's squared weight that is added to its ridge
    - ``dense_gb``: memory for the dense inverse, 4 * n_items^2 bytes; a catalog that needs more is solved by
      conjugate gradients
    - ``head_items``: most popular items whose dense inverse preconditions the conjugate gradients
    - ``trend_exponent``: exponent of an item's growth in popularity, by which its score is multiplied; 0 switches
      it off
    - ``popularity_weight``: weight of recent popularity in the score; 0 switches it off
    """

    rank: int
    ridge: float
    dropout: float
    dense_gb: float
    head_items: int
    trend_exponent: float
    popularity_weight: float

    def is_dense(self, n_items: int) -> bool:
        """Return True if the dense inverse of ``n_items`` fits ``dense_gb``."""
        return 4.0 * n_items**2 <= self.dense_gb * _BYTES_PER_GB

    @property
    def regression_rank(self) -> int:
        """Columns of the regression: all but that of recent popularity."""
        return self.rank - (1 if self.popularity_weight else 0)


def fit(
    interactions: WeightedInteractions,
    shape: tuple[int, int],
    popularity: Popularity,
    params: Mapping[str, Any],
    seed: int,
) -> RankingFactors:
    """Fit the EASE ranker. The factors have ``rank`` columns whatever the data."""
    section = _read(params)
    regression = ItemRegression.from_interactions(interactions, shape, section.ridge, section.dropout)
    return fit_factors(regression, invert(regression, section), popularity, section, seed)


def fit_factors(
    regression: Regression, inverse: InverseGram, popularity: Popularity, section: EaseParams, seed: int
) -> RankingFactors:
    """Return the factors of a regression whose Gram matrix is inverted."""
    factors = reduce_rank(ScoreOperator(regression, inverse), section.regression_rank, seed)
    return add_popularity_terms(factors, popularity, section.trend_exponent, section.popularity_weight)


def invert(regression: ItemRegression, section: EaseParams) -> InverseGram:
    """Return the inverse of the regression's Gram matrix: dense if it fits, by conjugate gradients otherwise."""
    if section.is_dense(regression.n_items):
        return DenseInverse(regression, dense_gram(regression.history_by_item))
    return IterativeInverse(regression, section.head_items)


def describe_method(params: Mapping[str, Any], n_items: int) -> str:
    """Return how a catalog of ``n_items`` is solved, for the manifest and the log."""
    section = _read(params)
    if section.is_dense(n_items):
        return f"dense float32 inverse, rank {section.rank}"
    return f"conjugate gradients with a dense head of {section.head_items} movies, rank {section.rank}"


def _read(params: Mapping[str, Any]) -> EaseParams:
    return read_section(params, EaseParams, "rankers.ease")
