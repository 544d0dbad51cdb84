"""Smoke test of an artifact: the stored predictions of a few users must be reproduced before it serves."""

from __future__ import annotations

from collections.abc import Sequence
from math import isclose

import numpy as np

from marquee.errors import ArtifactRefused
from marquee.registry.item_factors import ItemFactors, predict_ratings, query_vector, ranking_scores
from marquee.registry.manifest import SmokeCase
from marquee.registry.user_store import UserRecord, UserStore
from marquee.scoring.arrays import Floats

MAX_CASES = 5
TOP_MOVIES = 10
# Float32 sums differ between processors by far less than this.
_RELATIVE, _ABSOLUTE = 1e-3, 1e-4


def make_smoke_cases(factors: ItemFactors, users: Sequence[UserRecord]) -> tuple[SmokeCase, ...]:
    """Return the present predictions of both models for ``users``."""
    return tuple(_make_case(factors, user) for user in users)


def run_smoke_test(factors: ItemFactors, users: UserStore) -> None:
    """Raise :class:`ArtifactRefused` unless the predictions of every stored case are reproduced."""
    cases = factors.manifest.smoke
    records = [_read_user(factors, users, case) for case in cases]
    for case, user in zip(cases, records, strict=True):
        _check_ratings(factors, case, user)
    # One product for all cases: it is bound by reading the item vectors.
    queries = [query_vector(factors, user.items, user.weights) for user in records]
    scores = np.stack(queries) @ factors.rank_items.T if queries else ()
    for case, user_scores in zip(cases, scores, strict=True):
        _check_top(factors, case, user_scores)


def _read_user(factors: ItemFactors, users: UserStore, case: SmokeCase) -> UserRecord:
    user = users.read(case.user_id)
    if user is None:
        raise _make_refusal(factors, case, "is missing from the user store")
    return user


def _make_case(factors: ItemFactors, user: UserRecord) -> SmokeCase:
    ratings = predict_ratings(factors, user.vector, user.bias)
    scores = ranking_scores(factors, user.items, user.weights)
    best = np.argsort(-scores, kind="stable")[:TOP_MOVIES]
    n_items = len(factors.movie_ids)
    sample = np.linspace(0, n_items - 1, min(TOP_MOVIES, n_items)).astype(int)
    return SmokeCase(user.user_id, _pair_with_ids(factors, sample, ratings), _pair_with_ids(factors, best, scores))


def _pair_with_ids(factors: ItemFactors, items: np.ndarray, values: Floats) -> tuple[tuple[str, float], ...]:
    return tuple((factors.movie_ids[i], float(values[i])) for i in items.tolist())


def _check_ratings(factors: ItemFactors, case: SmokeCase, user: UserRecord) -> None:
    rows = [_get_row(factors, case, movie_id) for movie_id, _ in case.ratings]
    ratings = predict_ratings(factors, user.vector, user.bias, rows)
    for (movie_id, expected), actual in zip(case.ratings, ratings.tolist(), strict=True):
        if not isclose(actual, expected, rel_tol=_RELATIVE, abs_tol=_ABSOLUTE):
            raise _make_refusal(factors, case, f"has predicted rating {actual:.4f} for {movie_id}, not {expected:.4f}")


def _check_top(factors: ItemFactors, case: SmokeCase, scores: Floats) -> None:
    tolerance = _ABSOLUTE + _RELATIVE * max(float(scores.max(initial=0)), -float(scores.min(initial=0)))
    for movie_id, expected in case.top:
        actual = float(scores[_get_row(factors, case, movie_id)])
        if not abs(actual - expected) <= tolerance:
            raise _make_refusal(factors, case, f"has score {actual:.5f} for {movie_id}, not {expected:.5f}")
    min_score = min((score for _, score in case.top), default=-np.inf)
    if int(np.count_nonzero(scores > min_score + tolerance)) >= max(len(case.top), 1):
        raise _make_refusal(factors, case, "is recommended other movies")


def _get_row(factors: ItemFactors, case: SmokeCase, movie_id: str) -> int:
    if movie_id not in factors.items:
        raise _make_refusal(factors, case, f"needs the movie {movie_id}, which is missing")
    return factors.items[movie_id]


def _make_refusal(factors: ItemFactors, case: SmokeCase, problem: str) -> ArtifactRefused:
    return ArtifactRefused(f"artifact {factors.manifest.version} fails its smoke test: user {case.user_id} {problem}")
