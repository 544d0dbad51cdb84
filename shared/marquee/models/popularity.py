"""Recent popularity of each item: the list for unknown users, and a baseline for every model."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from marquee.data.interactions import WeightedInteractions

_MICROSECONDS_PER_DAY = 86_400_000_000
Floats = NDArray[np.float64]


class PopularityParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters of :func:`fit_popularity`.

    - ``half_life_days``: age at which an interaction counts half
    - ``prior_likes``: strength of the Dirichlet prior at the all-time distribution, in likes. With it, a stream
      that has just begun does not replace what was known before.
    """

    half_life_days: float
    prior_likes: float


@dataclass(frozen=True, slots=True)
class Popularity:
    """Popularity of each item [n_items].

    ``recent`` is a distribution over items: not negative, sum 1. ``growth`` is ``recent`` divided by the all-time
    distribution, and 1 for an item without interactions.
    """

    recent: Floats
    growth: Floats


def fit_popularity(interactions: WeightedInteractions, n_items: int, params: PopularityParams) -> Popularity:
    """Return decayed counts under a Dirichlet prior at the all-time distribution.

    count[i] = sum of weight * 0.5 ** (age / half_life_days) over the interactions with item i
               + prior_likes * all_time[i]

    ``recent`` is ``count`` divided by its sum. The age is in days before the newest interaction.
    """
    return smooth_counts(
        count_all(interactions, n_items), decay_counts(interactions, n_items, params.half_life_days), params.prior_likes
    )


def count_all(interactions: WeightedInteractions, n_items: int) -> Floats:
    """Return the sum of the weights of each item, [n_items]."""
    return np.bincount(interactions.items, interactions.weights, n_items).astype(np.float64)


def decay_counts(
    interactions: WeightedInteractions, n_items: int, half_life_days: float, newest: int | None = None
) -> Floats:
    """Return the sum of weight * 0.5 ** (age / ``half_life_days``) of each item, [n_items].

    The age is that at the time ``newest``, by default the time of the newest interaction.
    """
    end = interactions.times.max() if newest is None else newest
    age_days = (end - interactions.times) / _MICROSECONDS_PER_DAY
    decayed = interactions.weights * 0.5 ** (age_days / half_life_days)
    return np.bincount(interactions.items, decayed, n_items).astype(np.float64)


def smooth_counts(all_time_counts: Floats, decayed_counts: Floats, prior_likes: float) -> Popularity:
    """Return the popularity from the counts of each item, [n_items]."""
    all_time = all_time_counts / all_time_counts.sum()
    counts = decayed_counts + prior_likes * all_time
    recent = counts / counts.sum()
    growth = np.divide(recent, all_time, out=np.ones(len(all_time)), where=all_time > 0)
    return Popularity(recent, growth)
