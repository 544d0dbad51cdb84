"""What is known of the one user who asks: the artifact's record of him, and what he did since."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import msgspec
import numpy as np

from marquee.registry.item_factors import ItemFactors
from marquee.registry.user_store import UserRecord
from marquee.scoring.interaction_weights import interaction_weight

if TYPE_CHECKING:  # The database's client is loaded where there is a database.
    from numpy.typing import NDArray

    from marquee.db.user_history import History, RatedMovie, WatchedMovie

Floats: TypeAlias = "NDArray[np.float32]"


class UserState(msgspec.Struct, frozen=True, gc=False):
    """A user's films, those seen last at the end, each once.

    ``items``, ``ratings`` (NaN: watched, not rated) and ``weights`` (for the ranking head): [n].
    ``record``: what the artifact holds. ``fresh``: whether the films say more than the record;
    ``freshly_rated``: whether ratings are among what they say more.
    """

    items: NDArray[np.uint32]
    ratings: Floats
    weights: Floats
    record: UserRecord | None = None
    fresh: bool = False
    freshly_rated: bool = False


class _Film(msgspec.Struct, frozen=True, gc=False):
    rating: float  # NaN: watched, not rated
    weight: float


EMPTY = UserState(np.empty(0, np.uint32), np.empty(0, np.float32), np.empty(0, np.float32))


def build_user_state(side: ItemFactors, record: UserRecord | None, history: History | None) -> UserState:
    """Put the record and the fresh history together; films that the artifact does not know are left out."""
    films = _fresh_films(side, history) if history else {}
    base = UserState(record.items, record.ratings, record.weights, record) if record else EMPTY
    if not films:
        return base
    known = dict(zip(base.items.tolist(), base.ratings.tolist(), strict=True))
    if record:  # A second look at a film does not take its rating away.
        films = {i: f for i, f in films.items() if i not in known or _says_more(f, known[i])}
        if not films:
            return base
    return _joined(base, films)


def _says_more(film: _Film, before: float) -> bool:
    return film.rating == film.rating and film.rating != before  # Not NaN, and another rating.


def _joined(base: UserState, films: dict[int, _Film]) -> UserState:
    rows = np.fromiter(films, np.uint32, len(films))
    kept = ~np.isin(base.items, rows)
    ratings = np.array([f.rating for f in films.values()], np.float32)
    weights = np.array([f.weight for f in films.values()], np.float32)
    return UserState(
        np.concatenate([base.items[kept], rows]),
        np.concatenate([base.ratings[kept], ratings]),
        np.concatenate([base.weights[kept], weights]),
        base.record,
        fresh=True,
        freshly_rated=bool((~np.isnan(ratings)).any()),
    )


def _fresh_films(side: ItemFactors, history: History) -> dict[int, _Film]:
    """The films by row, the last at the end; a film's newest rating counts, and more than its minutes."""
    low, high = side.manifest.rating_min, side.manifest.rating_max
    last_minutes = {w.movie_id: w.last_minute for w in history.watched}
    ratings: dict[str, float] = {}
    for rated in history.ratings:  # Newest first.
        ratings.setdefault(rated.movie_id, float(rated.rating))
    films: dict[int, _Film] = {}
    events: list[RatedMovie | WatchedMovie] = [*history.ratings, *history.watched]
    for event in sorted(events, key=lambda e: e.time, reverse=True):
        item = side.items.get(event.movie_id)
        if item is not None and item not in films:
            rating = ratings.get(event.movie_id)
            weight = interaction_weight(rating, last_minutes.get(event.movie_id), low, high)
            films[item] = _Film(float("nan") if rating is None else rating, weight)
    return dict(reversed(films.items()))
