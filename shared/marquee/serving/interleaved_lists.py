"""Interleaved list of an experiment: the lists of both arms, drafted into one.

Randomness comes from the recommendation id, so that the list can be made again. Both lists are whole lists of their
arm, with its policy, the request's rules and without exploration. Whatever is drafted from them therefore passes the
rules. See :mod:`marquee.experiments.interleaving`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import msgspec

from marquee.experiments.interleaving import draft_teams
from marquee.serving.answer import RatingInterval
from marquee.serving.engine import Engine
from marquee.serving.list_builder import MovieList
from marquee.serving.scored_movie import ScoredMovie
from marquee.serving.user_state import EMPTY, UserState

if TYPE_CHECKING:
    from marquee.serving.answer_document import Explanation

NO_PROPENSITY = 0.0
"""Propensity of a drafted movie. It depends on all flips of the draft, so estimates leave such lists out."""


class Listed(msgspec.Struct, frozen=True):
    """A list with what its answer says about it; ``explanations`` and ``reasons`` are empty or one for each movie."""

    result: MovieList
    explanations: tuple[Explanation, ...] = ()
    reasons: tuple[str, ...] = ()
    interval: RatingInterval | None = None
    engine: Engine | None = None
    state: UserState = EMPTY


def draft_lists(
    own: Listed, other: Listed, own_is_control: bool, n: int, random: Callable[[], float]
) -> tuple[Listed, str]:
    """Return the list of up to ``n`` movies, and the team of each as a digit.

    ``own`` is the list of the user's arm. Each movie has the score, the rank and the reason of its team. All ratings
    are predicted by the user's arm, whose accuracy is measured by them; a movie that it does not know has none.
    """
    sides = (own, other) if own_is_control else (other, own)
    control, treatment = ([movie.movie_id for movie in side.result.movies] for side in sides)
    places = [{movie_id: at for at, movie_id in enumerate(ids)} for ids in (control, treatment)]
    drafted = [(team, places[team][movie_id]) for movie_id, team in draft_teams(control, treatment, n, random)]
    ratings = _predict(own, [sides[team].result.movies[at].movie_id for team, at in drafted])
    movies = [
        ScoredMovie(movie.movie_id, movie.score, rating, NO_PROPENSITY, movie.rank)
        for movie, rating in zip((sides[team].result.movies[at] for team, at in drafted), ratings, strict=True)
    ]
    explains, has_reasons = (all(getattr(side, name) for side in sides) for name in ("explanations", "reasons"))
    listed = msgspec.structs.replace(
        own,
        result=MovieList(own.result.tier, movies, eligible=own.result.eligible),
        explanations=tuple(sides[team].explanations[at] for team, at in drafted) if explains else (),
        reasons=tuple(sides[team].reasons[at] for team, at in drafted) if has_reasons else (),
    )
    return listed, "".join(str(team) for team, _ in drafted)


def _predict(side: Listed, movie_ids: Sequence[str]) -> list[float | None]:
    """Return the ratings that the side's model predicts; None for movies that it does not know."""
    if side.engine is None:
        return [None] * len(movie_ids)
    items = side.engine.item_factors.items
    known = [items[movie_id] for movie_id in movie_ids if movie_id in items]
    ratings = iter(side.engine.predict(side.state, known))
    return [next(ratings) if movie_id in items else None for movie_id in movie_ids]
