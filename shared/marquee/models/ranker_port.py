"""Port of the ranking models, and the registry of rankers by name.

A ranker is a module with a function ``fit`` of the type :class:`Ranker`. ``params.yaml`` selects it (``ranker:``)
and holds its parameters (``rankers.<name>:``). :data:`RANKERS` lists its module.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol

import numpy as np

from marquee.data.interactions import WeightedInteractions
from marquee.errors import SettingsError
from marquee.models.popularity import Popularity
from marquee.models.trainer_port import Floats

RANKERS = {
    "ease": "marquee.models.ease",
    "pure_svd": "marquee.models.pure_svd",
}


@dataclass(frozen=True, slots=True)
class RankingFactors:
    """Linear ranking model: ``(sum of weight * rank_history[j] over the user's items j) . rank_items[i]``.

    Both arrays are [n_items, rank]. The score is linear in the history: there is no stored user vector, and an
    item counts as soon as it is watched.

    ``trend`` [n_items] is the factor by which growth in popularity multiplies the rows of ``rank_items``, None if there
    is none. The last ``popularity_columns`` columns score recent popularity. Both serve to tell the parts of a score
    apart.
    """

    rank_history: Floats
    rank_items: Floats
    trend: Floats | None = None
    popularity_columns: int = 0


class Ranker(Protocol):
    """Function that fits a ranking model; equal arguments give equal bits."""

    def __call__(
        self,
        interactions: WeightedInteractions,
        shape: tuple[int, int],
        popularity: Popularity,
        params: Mapping[str, Any],
        seed: int,
    ) -> RankingFactors:
        """Fit the model.

        ``shape`` is (n_users, n_items). ``params`` is the ranker's section of ``params.yaml``, not yet checked.
        """
        ...


def load_ranker(name: str) -> Ranker:
    """Import the ranker ``name``. Raises :class:`SettingsError` if it is not known."""
    if name not in RANKERS:
        raise SettingsError(f"there is no ranker {name!r}; there is {', '.join(sorted(RANKERS))}")
    fit: Ranker = import_module(RANKERS[name]).fit
    return fit


def describe_method(name: str, params: Mapping[str, Any], n_items: int) -> str:
    """Return how the ranker ``name`` fits a catalog of ``n_items``: its own words, or its name if it has one way.

    A ranker whose way depends on the catalog has a function ``describe_method(params, n_items)``. Raises
    :class:`SettingsError` if the ranker is not known, or its parameters are wrong.
    """
    load_ranker(name)
    own: Callable[[Mapping[str, Any], int], str] | None = getattr(import_module(RANKERS[name]), "describe_method", None)
    return f"{name}: {own(params, n_items)}" if own else name


def add_popularity_terms(
    factors: RankingFactors, popularity: Popularity, trend_exponent: float, popularity_weight: float
) -> RankingFactors:
    """Return ``factors`` with recent popularity in their scores.

    score'[i] = score[i] * growth[i] ** trend_exponent + popularity_weight * n * recent[i], where n is the sum of
    the weights in the user's history. The second term is one more column of both arrays; a weight of 0 adds none.
    """
    recent = popularity.recent[:, None] * popularity_weight if popularity_weight else None
    trend = popularity.growth**trend_exponent
    items = factors.rank_items * trend[:, None]
    if recent is None:
        return RankingFactors(factors.rank_history, items, trend)
    history = np.hstack([factors.rank_history, np.ones(recent.shape)])
    return RankingFactors(history, np.hstack([items, recent]), trend, recent.shape[1])
