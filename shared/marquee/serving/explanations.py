"""Explanations of a list: the share that each past movie has in a score, exactly.

The ranking score of a movie is a sum over the user's history, ``weight * rank_history[j] . rank_items[i]``. Each term
is the share of one past movie: without it the score would be lower by the share. A predicted rating by fold-in is
linear in the ratings in the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from marquee.scoring.cohort_scores import score_cohorts
from marquee.serving.answer_document import Explanation, RatingParts, Reason, ScoreParts
from marquee.serving.list_builder import MovieList
from marquee.serving.scored_movie import Tier
from marquee.serving.user_state import UserState

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from marquee.serving.engine import Engine

Floats: TypeAlias = "NDArray[np.float32]"

SCORE, EXPLORATION = "score", "exploration"
_HISTORY_TIERS = (Tier.PERSONALISED, Tier.FOLDED_IN)


def compute_shares(engine: Engine, state: UserState, rows: Sequence[int]) -> Floats:
    """Return the share of each past movie in the ranking score of each of ``rows``, [len(rows), n_history]."""
    factors = engine.item_factors
    history = factors.rank_history.take(state.items, axis=0) * state.weights[:, None]
    shares: Floats = factors.rank_items.take(np.asarray(rows, np.intp), axis=0) @ history.T
    return shares


def find_first_reasons(engine: Engine, state: UserState, result: MovieList) -> tuple[str, ...]:
    """Return the first reason of each movie: a movie id of the history, or the name of what decided instead."""
    rows = result.rows
    if not rows:
        return ()
    if result.tier in _HISTORY_TIERS:
        movie_ids = engine.item_factors.movie_ids
        firsts = state.items[compute_shares(engine, state, rows).argmax(axis=1)].tolist()
        reasons = [movie_ids[first] for first in firsts]
    else:
        reasons = ["cohort" if result.tier is Tier.COHORT else "popularity"] * len(rows)
    length = len(rows)
    for position, (row, movie) in enumerate(zip(rows, result.movies, strict=True)):
        if row in result.sources:
            reasons[position] = result.sources[row]
        elif movie.rank > length:
            reasons[position] = EXPLORATION
    return tuple(reasons)


def explain_list(engine: Engine, state: UserState, result: MovieList, n: int) -> tuple[Explanation, ...]:
    """Return the explanation of each movie, with its ``n`` largest positive reasons."""
    rows = result.rows
    if not rows:
        return ()
    ratings = _explain_ratings(engine, state, result, n)
    if result.tier in _HISTORY_TIERS:
        shares = compute_shares(engine, state, rows)
        because = [_name_reasons(engine, state.items, state.ratings, own, n) for own in shares]
        parts = _split_scores(engine, state, result)
    else:
        because = [()] * len(rows)
        parts = _split_popularity(engine, result)
    return tuple(
        Explanation(_find_source(result, position), own_because, own_parts, rating)
        for position, (own_because, own_parts, rating) in enumerate(zip(because, parts, ratings, strict=True))
    )


def _find_source(result: MovieList, position: int) -> str:
    row = result.rows[position]
    if row in result.sources:
        return result.sources[row]
    return EXPLORATION if result.movies[position].rank > len(result.rows) else SCORE


def _name_reasons(
    engine: Engine, items: NDArray[np.integer], ratings: Floats, shares: Floats, n: int
) -> tuple[Reason, ...]:
    factors = engine.item_factors
    best = [at for at in (-shares).argsort(kind="stable")[:n].tolist() if shares[at] > 0]
    return tuple(
        Reason(
            factors.movie_ids[items[at]],
            float(shares[at]),
            factors.metadata.title(int(items[at])),
            None if np.isnan(ratings[at]) else float(ratings[at]),
        )
        for at in best
    )


def _split_scores(engine: Engine, state: UserState, result: MovieList) -> list[ScoreParts]:
    """Split ranking scores: what the history says, trend, popularity, and the deduction for license fees."""
    factors, rows = engine.item_factors, np.array(result.rows, np.intp)
    query = state.weights @ factors.rank_history.take(state.items, axis=0)
    vectors = factors.rank_items.take(rows, axis=0)
    n_taste = len(query) - factors.manifest.popularity_columns
    taste = vectors[:, :n_taste] @ query[:n_taste]
    popularity = vectors[:, n_taste:] @ query[n_taste:]
    history = taste if factors.trend is None else taste / factors.trend[rows]
    cost = np.zeros(len(rows), np.float32) if result.deductions is None else result.deductions[rows]
    columns = (history, taste - history, popularity, cost)
    return [
        ScoreParts(history=h, trend=t, popularity=p, cost=-c if c else 0.0)
        for h, t, p, c in zip(*(column.tolist() for column in columns), strict=True)
    ]


def _split_popularity(engine: Engine, result: MovieList) -> list[ScoreParts]:
    """Split the scores of a list without a history: popularity, cohorts, and the deduction for license fees."""
    factors, rows = engine.item_factors, np.array(result.rows, np.intp)
    popularity = factors.popularity
    cohort = np.zeros(len(rows), np.float32)
    if result.cohort_rows:
        popularity = score_cohorts(popularity, factors.cohort_scores[:0], ())
        own, weights = zip(*result.cohort_rows, strict=True)
        cohort = np.asarray(weights, np.float32) @ factors.cohort_scores[list(own)][:, rows]
    cost = np.zeros(len(rows), np.float32) if result.deductions is None else result.deductions[rows]
    columns = (popularity[rows], cohort, cost)
    return [
        ScoreParts(popularity=p, cohort=c, cost=-d if d else 0.0)
        for p, c, d in zip(*(column.tolist() for column in columns), strict=True)
    ]


def _explain_ratings(engine: Engine, state: UserState, result: MovieList, n: int) -> list[RatingParts | None]:
    """Split predicted ratings: the prior's prediction, the shares of the user's ratings, and the rest."""
    rated = ~np.isnan(state.ratings)
    items, ratings = state.items[rated], state.ratings[rated]
    baseline, shares = engine.explain_ratings(items, ratings, result.rows)
    parts: list[RatingParts | None] = []
    for movie, base, own in zip(result.movies, baseline.tolist(), shares, strict=True):
        if movie.rating is None:
            parts.append(None)
            continue
        total = float(own.sum())
        because = _name_reasons(engine, items, ratings, own, n)
        parts.append(RatingParts(base, total, movie.rating - base - total, because))
    return parts
