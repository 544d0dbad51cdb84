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
    """A user's movies, those seen last at the end, each once.

    ``items``, ``ratings`` (NaN: watched, not rated) and ``weights`` (for the ranking head): [n].
    ``record``: what the artifact holds. ``fresh``: whether the movies say more than the record;
    ``freshly_rated``: whether ratings are among what they say more.
    """

    items: NDArray[np.uint32]
    ratings: Floats
    weights: Floats
    record: UserRecord | None = None
    fresh: bool = False
    freshly_rated: bool = False


class _Movie(msgspec.Struct, frozen=True, gc=False):
    rating: float  # NaN: watched, not rated
    weight: float


EMPTY = UserState(np.empty(0, np.uint32), np.empty(0, np.float32), np.empty(0, np.float32))


def build_user_state(side: ItemFactors, record: UserRecord | None, history: History | None) -> UserState:
    """Put the record and the fresh history together; movies that the artifact does not know are left out."""
    movies = _fresh_movies(side, history) if history else {}
    base = UserState(record.items, record.ratings, record.weights, record) if record else EMPTY
    if not movies:
        return base
    known = dict(zip(base.items.tolist(), base.ratings.tolist(), strict=True))
    if record:  # A second look at a movie does not take its rating away.
        movies = {i: f for i, f in movies.items() if i not in known or _says_more(f, known[i])}
        if not movies:
            return base
    return _joined(base, movies)


def _says_more(movie: _Movie, before: float) -> bool:
    return movie.rating == movie.rating and movie.rating != before  # Not NaN, and another rating.


def _joined(base: UserState, movies: dict[int, _Movie]) -> UserState:
    rows = np.fromiter(movies, np.uint32, len(movies))
    kept = ~np.isin(base.items, rows)
    ratings = np.array([f.rating for f in movies.values()], np.float32)
    weights = np.array([f.weight for f in movies.values()], np.float32)
    return UserState(
        np.concatenate([base.items[kept], rows]),
        np.concatenate([base.ratings[kept], ratings]),
        np.concatenate([base.weights[kept], weights]),
        base.record,
        fresh=True,
        freshly_rated=bool((~np.isnan(ratings)).any()),
    )


def _fresh_movies(side: ItemFactors, history: History) -> dict[int, _Movie]:
    """The movies by row, the last at the end; a movie's newest rating counts, and more than its minutes."""
    low, high = side.manifest.rating_min, side.manifest.rating_max
    last_minutes = {w.movie_id: w.last_minute for w in history.watched}
    ratings: dict[str, float] = {}
    for rated in history.ratings:  # Newest first.
        ratings.setdefault(rated.movie_id, float(rated.rating))
    movies: dict[int, _Movie] = {}
    events: list[RatedMovie | WatchedMovie] = [*history.ratings, *history.watched]
    for event in sorted(events, key=lambda e: e.time, reverse=True):
        item = side.items.get(event.movie_id)
        if item is not None and item not in movies:
            rating = ratings.get(event.movie_id)
            weight = interaction_weight(rating, last_minutes.get(event.movie_id), low, high)
            movies[item] = _Movie(float("nan") if rating is None else rating, weight)
    return dict(reversed(movies.items()))
