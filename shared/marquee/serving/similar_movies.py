"""Similar movies: the recommendations of the ranking model for a history of one movie.

The score omits trend and popularity, because they do not depend on that movie. For a user, the scores are mixed with
the user's own scores, both in units of their standard deviation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from marquee.registry.item_factors import ItemFactors
from marquee.serving.list_builder import ListContext, MovieList, find_candidates
from marquee.serving.list_request import ListRequest
from marquee.serving.rankings import ScoreRanking
from marquee.serving.user_state import UserState

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from marquee.serving.engine import Engine

Floats: TypeAlias = "NDArray[np.float32]"

OWN_WEIGHT = 0.5
"""Weight of the user's own scores, relative to the similarity."""


def score_similar(factors: ItemFactors, row: int) -> Floats:
    """Return the similarity of every movie to that of ``row``, [n_items], without trend and popularity."""
    query = factors.rank_history[row].copy()
    n_taste = len(query) - factors.manifest.popularity_columns
    query[n_taste:] = 0
    scores: Floats = factors.rank_items @ query
    if factors.trend is not None:
        scores /= factors.trend
    return scores


def find_similar(engine: Engine, row: int, state: UserState, request: ListRequest, context: ListContext) -> MovieList:
    """Return the movies most similar to that of ``row`` that pass the rules, without those that the user has seen."""
    tier, own_ranking, _ = engine.rank(state, ())
    scores = score_similar(engine.item_factors, row)
    if len(state.items):
        own = own_ranking.scores()
        scores = scores / _spread(scores) + np.float32(OWN_WEIGHT) * own / _spread(own)
    removed = [np.array([row], np.intp)]
    candidates = find_candidates(engine, state, request, context, may_be_filled=False, removed=removed)
    ranking = ScoreRanking(scores)
    rows = ranking.top(request.n, candidates)
    ranks = range(1, len(rows) + 1)
    movies = engine.make_movies(state, rows, ranking.scores_of(rows), [1.0] * len(rows), ranks)
    return MovieList(tier, movies, eligible=candidates.count, rows=rows)


def _spread(scores: Floats) -> np.float32:
    return np.float32(float(scores.std()) or 1.0)
