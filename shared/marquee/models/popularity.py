"""How popular each item is of late: what an unknown user is shown, and a baseline for every model."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from marquee.data.interactions import WeightedInteractions

_DAY = 86_400_000_000


class PopularityParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``half_life_days``: after which a like counts half. ``prior_likes``: as many likes' worth of each
    item's share of all time are mixed in, so that a young stream does not wipe out what was known before.
    """

    half_life_days: float
    prior_likes: float


@dataclass(frozen=True, slots=True)
class Popularity:
    """``of_late``: the share of all weight of each item [n_items], not negative, sum 1; ``growth``: that over
    its share of all time, 1 for an item without evidence.
    """

    of_late: NDArray[np.float64]
    growth: NDArray[np.float64]


def fit_popularity(evidence: WeightedInteractions, n_items: int, params: PopularityParams) -> Popularity:
    """Decayed counts under a Dirichlet prior at the shares of all time; "now" is the newest event."""
    ever = np.bincount(evidence.items, evidence.weights, n_items) / evidence.weights.sum()
    age_days = (evidence.times.max() - evidence.times) / _DAY
    fresh = evidence.weights * 0.5 ** (age_days / params.half_life_days)
    counts = np.bincount(evidence.items, fresh, n_items) + params.prior_likes * ever
    of_late = counts / counts.sum()
    growth = np.divide(of_late, ever, out=np.ones(n_items), where=ever > 0)
    return Popularity(of_late, growth)
