"""Reduced-rank regression: the factors whose scores are nearest to those of a regression's weights.

It keeps the directions in which scores differ between users, not those of the weights themselves (Izenman, 1975).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from marquee.models.item_regression import Float32, ScoreOperator
from marquee.models.ranker_port import RankingFactors

Floats = NDArray[np.float64]

PASSES = 6
"""Iterations of the subspace, which is 16 columns wider than the rank. More change no list."""


def reduce_rank(weights: ScoreOperator, rank: int, seed: int, passes: int = PASSES) -> RankingFactors:
    """Return the factors of ``rank`` columns whose scores are nearest to X B in least squares.

    Columns beyond the rank of B are 0.
    """
    directions = _leading_directions(weights, min(rank, weights.n_items), seed, passes)
    factors = weights.weigh(directions)
    return RankingFactors(_pad_columns(factors, rank), _pad_columns(directions, rank))


def _leading_directions(weights: ScoreOperator, rank: int, seed: int, passes: int) -> Float32:
    """Return the leading right singular vectors [n_items, rank] of X B; signs are fixed.

    Subspace iteration (Halko, Martinsson and Tropp, 2011) on the Gram matrix of the scores.
    """
    width = min(rank + 16, weights.n_items)
    basis = _orthonormal(np.random.default_rng(seed).standard_normal((weights.n_items, width)))
    for _ in range(passes):
        basis = _orthonormal(weights.score_gram(basis))
    gram = basis.T.astype(float) @ weights.score_gram(basis)
    _, rotation = np.linalg.eigh((gram + gram.T) / 2)
    directions = basis @ rotation[:, ::-1][:, :rank]
    signs = np.sign(directions[np.abs(directions).argmax(0), np.arange(rank)])
    signed: Float32 = (directions * signs).astype(np.float32)
    return signed


def _orthonormal(columns: NDArray[np.floating]) -> Float32:
    return np.linalg.qr(columns.astype(float))[0].astype(np.float32)


def _pad_columns(columns: Float32, width: int) -> Floats:
    """Return ``columns`` [n, k] in float64 with columns of zeros up to ``width``."""
    return np.pad(columns.astype(float), ((0, 0), (0, width - columns.shape[1])))
