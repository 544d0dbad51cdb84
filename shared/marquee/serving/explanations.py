"""Explanations of a list: the exact share of each past movie in a score.

The ranking score of a movie is a sum over the user's history, ``weight * rank_history[j] . rank_items[i]``. Each term
is the share of one past movie, by which the score would be lower without it. A rating predicted by fold-in is linear
in the ratings in the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from marquee.registry.item_factors import history_terms
from marquee.scoring.cohort_scores import score_cohorts
from marquee.serving.answer_document import ZERO, Explanation, RatingParts, Reason, ScoreParts
from marquee.serving.list_builder import MovieList
from marquee.serving.past_movies import PastMovies
from marquee.serving.scored_movie import Tier
from marquee.serving.user_state import UserState

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from marquee.serving.engine import Engine

Floats: TypeAlias = "NDArray[np.float32]"

SCORE, EXPLORATION = "score", "exploration"
_HISTORY_TIERS = (Tier.PERSONALISED, Tier.FOLDED_IN)
_FEW = 32
"""Length of a history up to which sorting it is as fast as finding its largest shares first."""


def compute_shares(engine: Engine, state: UserState, rows: Sequence[int]) -> Floats:
    """Return the share of each past movie in the ranking score of each of ``rows``, [len(rows), n_history]."""
    factors = engine.item_factors
    terms = history_terms(factors, state.items, state.weights)
    shares: Floats = factors.rank_items.take(np.asarray(rows, np.intp), axis=0) @ terms.T
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
    # A short call of NumPy costs more than arithmetic on twenty Python numbers, so that there are few of them here.
    rows, length = np.array(result.rows, np.intp), len(result.rows)
    past = engine.find_past(state)
    baseline, rating_shares = engine.share_ratings(past, rows)
    if result.tier in _HISTORY_TIERS:
        shares, parts = _split_scores(engine, past, result, rows)
        because = _name_reasons(past, np.concatenate([shares, rating_shares]), n)
    else:
        parts, because = _split_popularity(engine, result, rows), [()] * (2 * length)
    totals = np.add.reduce(rating_shares, axis=1).tolist()
    ratings = [
        RatingParts(base, total, movie.rating - base - total, reasons)
        for movie, base, total, reasons in zip(result.movies, baseline.tolist(), totals, because[length:], strict=True)
    ]
    return tuple(map(Explanation, _find_sources(result), because, parts, ratings))


def _find_sources(result: MovieList) -> list[str]:
    """Return the source of each movie of the list, such as score, exploration or pin."""
    length = len(result.rows)
    sources = [EXPLORATION if movie.rank > length else SCORE for movie in result.movies]
    if result.sources:
        sources = [result.sources.get(row, source) for row, source in zip(result.rows, sources, strict=True)]
    return sources


def _name_reasons(past: PastMovies, shares: Floats, n: int) -> list[tuple[Reason, ...]]:
    """Return the ``n`` largest positive ``shares`` [m, n_past] of each row, largest first."""
    order = _find_largest(shares, n)
    best = shares.take(order + np.arange(0, shares.size, shares.shape[1])[:, None])
    # One pass over all rows takes half as long as sixty comprehensions of a few elements.
    movie_ids, titles, ratings = past.columns.take(order.ravel(), axis=1).tolist()
    reasons = map(Reason, movie_ids, best.ravel().tolist(), titles, ratings)
    groups = zip(*[reasons] * order.shape[1], strict=True)  # An iterator given n times is taken from in groups of n.
    return [own if own[-1].share > 0 else tuple([one for one in own if one.share > 0]) for own in groups]


def _find_largest(shares: Floats, n: int) -> NDArray[np.intp]:
    """Return the columns of the ``n`` largest ``shares`` of each row, largest first; ties go to the first column."""
    if shares.shape[1] <= max(n, _FEW):
        return (-shares).argsort(axis=1, kind="stable")[:, :n]
    columns = np.argpartition(shares, -n, axis=1)[:, -n:]
    columns.sort(axis=1)
    order = (-np.take_along_axis(shares, columns, axis=1)).argsort(axis=1, kind="stable")
    return np.take_along_axis(columns, order, axis=1)


def _split_scores(
    engine: Engine, past: PastMovies, result: MovieList, rows: NDArray[np.intp]
) -> tuple[Floats, list[ScoreParts]]:
    """Return the share of each past movie in each score, [m, n_past], and the parts of the scores.

    The parts are history, trend, popularity and the deduction for license fees.
    """
    factors = engine.item_factors
    vectors = factors.rank_items.take(rows, axis=0)
    popularity = (vectors[:, vectors.shape[1] - len(past.popularity) :] @ past.popularity).tolist()
    trends = [1.0] * len(rows) if factors.trend is None else factors.trend.take(rows).tolist()
    costs = [0.0] * len(rows) if result.deductions is None else result.deductions.take(rows).tolist()
    parts = []
    for movie, own, trend, cost in zip(result.movies, popularity, trends, costs, strict=True):
        taste = movie.score + cost - own
        history = taste / trend
        parts.append(ScoreParts(history, taste - history or ZERO, own or ZERO, ZERO, -cost or ZERO))
    return vectors @ past.terms.T, parts


def _make_parts(result: MovieList, rows: NDArray[np.intp], **columns: Floats) -> list[ScoreParts]:
    """Return the parts of each score from the columns that are not 0 throughout."""
    if result.deductions is not None:
        columns["cost"] = -result.deductions[rows]
    values = zip(*(column.tolist() for column in columns.values()), strict=True)
    return [ScoreParts(**dict(zip(columns, own, strict=True))) for own in values]


def _split_popularity(engine: Engine, result: MovieList, rows: NDArray[np.intp]) -> list[ScoreParts]:
    """Split scores without a history into popularity, cohorts and the deduction for license fees."""
    factors = engine.item_factors
    columns = {"popularity": factors.popularity[rows]}
    if result.cohort_rows:
        columns["popularity"] = score_cohorts(factors.popularity, factors.cohort_scores[:0], ())[rows]
        own, weights = zip(*result.cohort_rows, strict=True)
        columns["cohort"] = np.asarray(weights, np.float32) @ factors.cohort_scores[list(own)][:, rows]
    return _make_parts(result, rows, **columns)
