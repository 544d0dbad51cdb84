"""Similar movies by the factors of the ranking model; see :mod:`marquee.scoring.item_similarity`.

For a user, the similarities are mixed with the user's own scores, both in units of their standard deviation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

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


def find_similar(engine: Engine, row: int, state: UserState, request: ListRequest, context: ListContext) -> MovieList:
    """Return the movies most similar to that of ``row`` that pass the rules, without those that the user has seen."""
    tier, own_ranking, _ = engine.rank(state, ())
    scores = engine.similarity.scores(row)
    if len(state.items):
        own = own_ranking.scores()
        scores = scores / _spread(scores) + np.float32(OWN_WEIGHT) * own / _spread(own)
    removed = [np.array([row], np.intp)]
    candidates = find_candidates(engine, state, request, context, may_be_filled=False, removed=removed)
    ranking = ScoreRanking(scores)
    rows = ranking.top(request.n, candidates)
    scores_of, ranks = ranking.scores_of(rows), range(1, len(rows) + 1)
    movies = engine.make_movies(state if context.rated else None, rows, scores_of, [1.0] * len(rows), ranks)
    return MovieList(tier, movies, eligible=candidates.count, rows=rows)


def _spread(scores: Floats) -> np.float32:
    return np.float32(float(scores.std()) or 1.0)
