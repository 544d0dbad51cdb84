"""A few users whose answers are known, so that an artifact that answers wrongly never serves."""

from __future__ import annotations

from collections.abc import Sequence
from math import isclose

import numpy as np

from marquee.errors import ArtifactRefused
from marquee.registry.item_factors import ItemFactors, predict_ratings, query_vector, ranking_scores
from marquee.registry.manifest import SmokeCase
from marquee.registry.user_store import UserRecord, UserStore
from marquee.scoring.arrays import Floats

CASES = 5
TOP = 10
# Sums of float32 products come out differently from one processor to the next, by far less than this.
_RELATIVE, _ABSOLUTE = 1e-3, 1e-4


def expected_answers(side: ItemFactors, users: Sequence[UserRecord]) -> tuple[SmokeCase, ...]:
    """The golden answers for ``users``, as both heads give them now."""
    return tuple(_case(side, user) for user in users)


def smoke_test(side: ItemFactors, users: UserStore) -> None:
    """Raise :class:`ArtifactRefused` unless every stored case comes out as when it was written."""
    cases = side.manifest.smoke
    records = [_found(side, users, case) for case in cases]
    for case, user in zip(cases, records, strict=True):
        _check_ratings(side, case, user)
    # All at once: to read every movie's vector takes longer than to multiply it.
    tastes = [query_vector(side, user.items, user.weights) for user in records]
    scores = np.stack(tastes) @ side.rank_items.T if tastes else ()
    for case, own in zip(cases, scores, strict=True):
        _check_top(side, case, own)


def _found(side: ItemFactors, users: UserStore, case: SmokeCase) -> UserRecord:
    user = users.read(case.user_id)
    if user is None:
        raise _wrong(side, case, "is not found any more")
    return user


def _case(side: ItemFactors, user: UserRecord) -> SmokeCase:
    ratings, scores = (
        predict_ratings(side, user.vector, user.bias),
        ranking_scores(side, user.items, user.weights),
    )
    best = np.argsort(-scores, kind="stable")[:TOP]
    spread = np.linspace(0, len(side.movie_ids) - 1, min(TOP, len(side.movie_ids))).astype(int)
    return SmokeCase(user.user_id, _named(side, spread, ratings), _named(side, best, scores))


def _named(side: ItemFactors, items: np.ndarray, numbers: Floats) -> tuple[tuple[str, float], ...]:
    return tuple((side.movie_ids[i], float(numbers[i])) for i in items.tolist())


def _check_ratings(side: ItemFactors, case: SmokeCase, user: UserRecord) -> None:
    rows = [_row(side, case, movie_id) for movie_id, _ in case.ratings]
    ratings = predict_ratings(side, user.vector, user.bias, rows)
    for (movie_id, expected), found in zip(case.ratings, ratings.tolist(), strict=True):
        if not isclose(found, expected, rel_tol=_RELATIVE, abs_tol=_ABSOLUTE):
            raise _wrong(side, case, f"would rate {movie_id} {found:.4f}, not {expected:.4f}")


def _check_top(side: ItemFactors, case: SmokeCase, scores: Floats) -> None:
    tolerance = _ABSOLUTE + _RELATIVE * max(float(scores.max(initial=0)), -float(scores.min(initial=0)))
    for movie_id, expected in case.top:
        found = float(scores[_row(side, case, movie_id)])
        if not abs(found - expected) <= tolerance:
            raise _wrong(side, case, f"has score {found:.5f} for {movie_id}, not {expected:.5f}")
    least = min((score for _, score in case.top), default=-np.inf)
    if int(np.count_nonzero(scores > least + tolerance)) >= max(len(case.top), 1):
        raise _wrong(side, case, "is recommended other movies")


def _row(side: ItemFactors, case: SmokeCase, movie_id: str) -> int:
    if movie_id not in side.items:
        raise _wrong(side, case, f"needs the movie {movie_id}, which is not there")
    return side.items[movie_id]


def _wrong(side: ItemFactors, case: SmokeCase, what: str) -> ArtifactRefused:
    return ArtifactRefused(
        f"artifact {side.manifest.version} fails its smoke test: user {case.user_id} {what}"
    )
