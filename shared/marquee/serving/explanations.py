"""Explanations of a list: the exact share of each past movie in a score.

The ranking score of a movie is a sum over the user's history, ``weight * rank_history[j] . rank_items[i]``. Each term
is the share of one past movie, by which the score would be lower without it. A rating predicted by fold-in is linear
in the ratings in the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

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


def read_first_reasons(explanations: Sequence[Explanation], result: MovieList) -> tuple[str, ...]:
    """Return the first reasons as :func:`find_first_reasons` does, from explanations with at least one reason each."""
    nothing = "cohort" if result.tier is Tier.COHORT else "popularity"
    return tuple(
        explanation.source
        if explanation.source != SCORE
        else (explanation.because[0].movie_id if explanation.because else nothing)
        for explanation in explanations
    )


def find_first_reasons(engine: Engine, state: UserState, result: MovieList) -> tuple[str, ...]:
    """Return the first reason of each movie: a movie id of the history, or the name of another source."""
    if not result.rows:
        return ()
    if result.tier in _HISTORY_TIERS:
        movie_ids = engine.item_factors.movie_ids
        firsts = state.items[compute_shares(engine, state, result.rows).argmax(axis=1)].tolist()
        reasons = [movie_ids[first] for first in firsts]
    else:
        reasons = ["cohort" if result.tier is Tier.COHORT else "popularity"] * len(result.rows)
    sources = _find_sources(result)
    return tuple(reason if source == SCORE else source for source, reason in zip(sources, reasons, strict=True))


def explain_list(engine: Engine, state: UserState, result: MovieList, n: int) -> tuple[Explanation, ...]:
    """Return the explanation of each movie, with its ``n`` largest positive reasons."""
    if not result.rows:
        return ()
    ratings = _explain_ratings(engine, state, result, n)
    because: list[tuple[Reason, ...]] = [()] * len(result.rows)
    if result.tier in _HISTORY_TIERS:
        shares = compute_shares(engine, state, result.rows)
        because = _name_reasons(_describe_history(engine, state.items, state.ratings), shares, n)
        parts = _split_scores(engine, state, result)
    else:
        parts = _split_popularity(engine, result)
    return tuple(map(Explanation, _find_sources(result), because, parts, ratings))


def _find_sources(result: MovieList) -> list[str]:
    """Return the source of each movie of the list, such as score, exploration or pin."""
    length = len(result.rows)
    sources = [EXPLORATION if movie.rank > length else SCORE for movie in result.movies]
    if result.sources:
        sources = [result.sources.get(row, source) for row, source in zip(result.rows, sources, strict=True)]
    return sources


class _Past(NamedTuple):
    """Columns of the past movies: ids, titles and ratings."""

    movie_ids: list[str]
    titles: list[str | None]
    ratings: list[float | None]


def _describe_history(engine: Engine, items: NDArray[np.integer], ratings: Floats) -> _Past:
    factors, rows = engine.item_factors, items.tolist()
    movie_ids, titles = factors.movie_ids, factors.metadata.titles
    return _Past(
        [movie_ids[row] for row in rows],
        [titles[row] or None for row in rows] if titles else [None] * len(rows),
        [rating if rating == rating else None for rating in ratings.tolist()],
    )


def _name_reasons(past: _Past, shares: Floats, n: int) -> list[tuple[Reason, ...]]:
    """Return the ``n`` largest positive ``shares`` [m, n_past] of each movie, largest first."""
    order = (-shares).argsort(axis=1, kind="stable")[:, :n]
    best = shares[np.arange(len(shares))[:, None], order]
    # One pass over all movies takes half as long as sixty comprehensions of a few elements.
    places = order.ravel().tolist()
    ids, titles = [past.movie_ids[at] for at in places], [past.titles[at] for at in places]
    ratings = [past.ratings[at] for at in places]
    reasons = list(map(Reason, ids, best.ravel().tolist(), titles, ratings))
    n, counts = order.shape[1], np.count_nonzero(best > 0, axis=1).tolist()
    return [tuple(reasons[at * n : at * n + count]) for at, count in enumerate(counts)]


def _split_scores(engine: Engine, state: UserState, result: MovieList) -> list[ScoreParts]:
    """Split ranking scores into history, trend, popularity and the deduction for license fees."""
    factors, rows = engine.item_factors, np.array(result.rows, np.intp)
    query = state.weights @ factors.rank_history.take(state.items, axis=0)
    vectors = factors.rank_items.take(rows, axis=0)
    n_taste = len(query) - factors.manifest.popularity_columns
    taste = vectors[:, :n_taste] @ query[:n_taste]
    popularity = vectors[:, n_taste:] @ query[n_taste:]
    history = taste if factors.trend is None else taste / factors.trend[rows]
    return [
        ScoreParts(h, t, p, 0.0, cost)
        for h, t, p, cost in zip(
            history.tolist(), (taste - history).tolist(), popularity.tolist(), _list_costs(result), strict=True
        )
    ]


def _list_costs(result: MovieList) -> list[float]:
    if result.deductions is None:
        return [0.0] * len(result.rows)
    costs: list[float] = (-result.deductions[result.rows]).tolist()
    return costs


def _split_popularity(engine: Engine, result: MovieList) -> list[ScoreParts]:
    """Split scores without a history into popularity, cohorts and the deduction for license fees."""
    factors, rows = engine.item_factors, np.array(result.rows, np.intp)
    popularity = factors.popularity
    cohort = np.zeros(len(rows), np.float32)
    if result.cohort_rows:
        popularity = score_cohorts(popularity, factors.cohort_scores[:0], ())
        own, weights = zip(*result.cohort_rows, strict=True)
        cohort = np.asarray(weights, np.float32) @ factors.cohort_scores[list(own)][:, rows]
    return [
        ScoreParts(0.0, 0.0, p, c, cost)
        for p, c, cost in zip(popularity[rows].tolist(), cohort.tolist(), _list_costs(result), strict=True)
    ]


def _explain_ratings(engine: Engine, state: UserState, result: MovieList, n: int) -> list[RatingParts | None]:
    """Split predicted ratings into the prediction without ratings, the shares of the ratings, and the rest."""
    rated = state.ratings == state.ratings  # Not NaN.
    items, ratings = state.items[rated], state.ratings[rated]
    baseline, shares = engine.explain_ratings(items, ratings, result.rows)
    because = _name_reasons(_describe_history(engine, items, ratings), shares, n)
    totals = shares.sum(axis=1).tolist()
    return [
        None if movie.rating is None else RatingParts(base, total, movie.rating - base - total, own)
        for movie, base, total, own in zip(result.movies, baseline.tolist(), totals, because, strict=True)
    ]
