"""PureSVD ranker for large catalogs (Cremonesi, Koren and Turrin, RecSys 2010).

Its cost grows with the number of interactions, and not with the cube of the catalog as that of EASE.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.linalg import svds

from marquee.data.interactions import WeightedInteractions
from marquee.models.popularity import Popularity
from marquee.models.ranker_port import RankingFactors, add_popularity_terms
from marquee.models.trainer_port import read_section

Floats = NDArray[np.float64]


class PureSvdParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters of PureSVD.

    ``rank``: number of singular vectors. ``trend_exponent`` and ``popularity_weight`` as in
    :class:`~marquee.models.ease.EaseParams`.
    """

    rank: int
    trend_exponent: float
    popularity_weight: float


def fit(
    interactions: WeightedInteractions,
    shape: tuple[int, int],
    popularity: Popularity,
    params: Mapping[str, Any],
    seed: int,
) -> RankingFactors:
    """Fit PureSVD: scores ``history @ Q @ Q.T`` with the leading right singular vectors Q.

    Where the data have fewer than ``rank`` singular vectors, the other columns are 0.
    """
    section = read_section(params, PureSvdParams, "rankers.pure_svd")
    history = csr_array((interactions.weights, (interactions.users, interactions.items)), shape=shape)
    directions = _leading_right_vectors(history, section.rank, seed)
    directions = np.pad(directions, ((0, 0), (0, section.rank - directions.shape[1])))
    factors = RankingFactors(directions, directions)
    return add_popularity_terms(factors, popularity, section.trend_exponent, section.popularity_weight)


def _leading_right_vectors(matrix: csr_array, rank: int, seed: int) -> Floats:
    """Return the leading right singular vectors, largest first. Signs are fixed: equal data give equal arrays."""
    rank = min(rank, min(matrix.shape) - 1)
    if rank < 1:
        return np.zeros((matrix.shape[1], 0))
    start = np.random.default_rng(seed).standard_normal(min(matrix.shape))
    _, s, vt = svds(matrix.astype(float), k=rank, v0=start)
    signs = np.sign(vt[np.arange(rank), np.abs(vt).argmax(1)])
    ordered: Floats = (vt.T * signs)[:, np.argsort(-s, kind="stable")]
    return ordered
