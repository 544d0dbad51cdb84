"""Interleaved list of an experiment: the lists of both arms, drafted into one.

Randomness comes from the recommendation id, so that the list can be made again. Both lists are whole lists of their
arm, with its policy, the request's rules and without exploration. Whatever is drafted from them therefore passes the
rules. See :mod:`marquee.experiments.interleaving`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec

from marquee.experiments.interleaving import draft_teams
from marquee.serving.arm_lists import Listed
from marquee.serving.list_builder import MovieList
from marquee.serving.scored_movie import ScoredMovie

T = TypeVar("T")

NO_PROPENSITY = 0.0
"""Propensity of a drafted movie. It depends on all flips of the draft, so estimates leave such lists out."""


def draft_lists(
    own: Listed, other: Listed, own_is_control: bool, n: int, random: Callable[[], float]
) -> tuple[Listed, str]:
    """Return the list of up to ``n`` movies, and the team of each as a digit.

    ``own`` is the list of the user's arm. Each movie has the score, the rank and the reason of its team. All ratings
    are predicted by the user's arm, whose accuracy is measured by them; a movie that it does not know has none.
    """
    sides = (own, other) if own_is_control else (other, own)
    ids = [[movie.movie_id for movie in side.result.movies] for side in sides]
    drafted = draft_teams(ids[0], ids[1], n, random)
    places = [ids[team].index(movie_id) for movie_id, team in drafted]
    teams = [team for _, team in drafted]
    picked = [sides[team].result.movies[at] for team, at in zip(teams, places, strict=True)]
    movies = [
        ScoredMovie(movie.movie_id, movie.score, rating, NO_PROPENSITY, movie.rank)
        for movie, rating in zip(picked, _predict(own, drafted), strict=True)
    ]
    listed = msgspec.structs.replace(
        own,
        result=MovieList(own.result.tier, movies, eligible=own.result.eligible),
        explanations=_pick([side.explanations for side in sides], teams, places),
        reasons=_pick([side.reasons for side in sides], teams, places),
    )
    return listed, "".join(map(str, teams))


def _pick(columns: Sequence[tuple[T, ...]], teams: Sequence[int], places: Sequence[int]) -> tuple[T, ...]:
    """Return the entry of each movie from its side's column; empty if the columns are."""
    if not all(columns):
        return ()
    return tuple([columns[team][at] for team, at in zip(teams, places, strict=True)])


def _predict(side: Listed, drafted: Sequence[tuple[str, int]]) -> list[float | None]:
    """Return the ratings that the side's model predicts; None for movies that it does not know."""
    if side.engine is None:
        return [None] * len(drafted)
    rows = [side.engine.item_factors.items.get(movie_id) for movie_id, _ in drafted]
    known = [row for row in rows if row is not None]
    if len(known) == len(rows):
        return list(side.engine.predict(side.state, known))
    ratings = iter(side.engine.predict(side.state, known))
    return [None if row is None else next(ratings) for row in rows]
