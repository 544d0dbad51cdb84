"""State of one user: the artifact's record merged with the interactions since."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import msgspec
import numpy as np

from marquee.registry.item_factors import ItemFactors
from marquee.registry.user_store import UserRecord
from marquee.scoring.interaction_weights import interaction_weight

if TYPE_CHECKING:  # The database client is imported only where there is a database.
    from numpy.typing import NDArray

    from marquee.db.user_history import History, RatedMovie, WatchedMovie

Floats: TypeAlias = "NDArray[np.float32]"


class UserState(msgspec.Struct, frozen=True, gc=False):
    """A user's distinct items, those seen last at the end.

    ``items``, ``ratings`` (NaN: watched, not rated) and ``weights`` (of the ranking model): [n].
    ``record`` is the artifact's. ``has_new_items``: whether there are interactions that the record lacks;
    ``has_new_ratings``: whether ratings are among them.
    """

    items: NDArray[np.uint32]
    ratings: Floats
    weights: Floats
    record: UserRecord | None = None
    has_new_items: bool = False
    has_new_ratings: bool = False


class _Interaction(msgspec.Struct, frozen=True, gc=False):
    rating: float  # NaN: watched, not rated.
    weight: float


EMPTY = UserState(np.empty(0, np.uint32), np.empty(0, np.float32), np.empty(0, np.float32))


def build_user_state(factors: ItemFactors, record: UserRecord | None, history: History | None) -> UserState:
    """Merge the record with the recent history; movies that the artifact does not know are dropped."""
    interactions = _parse_history(factors, history) if history else {}
    base = UserState(record.items, record.ratings, record.weights, record) if record else EMPTY
    if not interactions:
        return base
    recorded = dict(zip(base.items.tolist(), base.ratings.tolist(), strict=True))
    if record:  # Watching an item again does not remove its rating.
        interactions = {
            item: interaction
            for item, interaction in interactions.items()
            if item not in recorded or _is_new_rating(interaction, recorded[item])
        }
        if not interactions:
            return base
    return _merge(base, interactions)


def _is_new_rating(interaction: _Interaction, recorded_rating: float) -> bool:
    # The first comparison is False for NaN.
    return interaction.rating == interaction.rating and interaction.rating != recorded_rating


def _merge(base: UserState, interactions: dict[int, _Interaction]) -> UserState:
    items = np.fromiter(interactions, np.uint32, len(interactions))
    unchanged = ~np.isin(base.items, items)
    ratings = np.array([interaction.rating for interaction in interactions.values()], np.float32)
    weights = np.array([interaction.weight for interaction in interactions.values()], np.float32)
    return UserState(
        np.concatenate([base.items[unchanged], items]),
        np.concatenate([base.ratings[unchanged], ratings]),
        np.concatenate([base.weights[unchanged], weights]),
        base.record,
        has_new_items=True,
        has_new_ratings=bool((~np.isnan(ratings)).any()),
    )


def _parse_history(factors: ItemFactors, history: History) -> dict[int, _Interaction]:
    """Return interactions by item row, the last at the end. An item's newest rating overrides its minutes."""
    low, high = factors.manifest.rating_min, factors.manifest.rating_max
    last_minutes = {watched.movie_id: watched.last_minute for watched in history.watched}
    ratings: dict[str, float] = {}
    for rated in history.ratings:  # Newest first.
        ratings.setdefault(rated.movie_id, float(rated.rating))
    interactions: dict[int, _Interaction] = {}
    events: list[RatedMovie | WatchedMovie] = [*history.ratings, *history.watched]
    for event in sorted(events, key=lambda e: e.time, reverse=True):
        item = factors.items.get(event.movie_id)
        if item is not None and item not in interactions:
            rating = ratings.get(event.movie_id)
            weight = interaction_weight(rating, last_minutes.get(event.movie_id), low, high)
            interactions[item] = _Interaction(float("nan") if rating is None else rating, weight)
    return dict(reversed(interactions.items()))
