"""JSON documents of the answers: the structs from which they are encoded, and from which the schema is derived."""

from __future__ import annotations

import msgspec
from msgspec import UNSET, UnsetType

ZERO = 0.0
"""Default of a part. Only this very object is omitted, because msgspec compares floats by identity."""


class Reason(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One past movie and its share of a score: without the movie, the score would be lower by the share.

    ``rating`` is the user's own rating of the movie, None if it was only watched.
    """

    movie_id: str
    share: float
    title: str | None = None
    rating: float | None = None


class ScoreParts(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Parts of a score, whose sum it is. A part that is 0 is missing.

    ``history``: what the past movies say of this one. ``trend``: what its growth in popularity adds to that.
    ``popularity``: its recent popularity. ``cohort``: preferences of the user's cohorts. ``cost``: the policy's
    deduction for the license fee. ``other``: what the parts before do not cover.
    """

    history: float = ZERO
    trend: float = ZERO
    popularity: float = ZERO
    cohort: float = ZERO
    cost: float = ZERO
    other: float = ZERO


class RatingParts(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Parts of a predicted rating, before it is clipped to the scale; their sum is the prediction.

    ``baseline``: the prediction for a user without ratings. ``ratings``: the sum of the shares of the user's ratings;
    ``because`` has the largest. ``other``: what training or a later correction knows beyond them.
    """

    baseline: float
    ratings: float = 0.0
    other: float = 0.0
    because: tuple[Reason, ...] = ()


class Explanation(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Why a movie is in the list.

    ``source``: ``score`` if its rank put it there, ``exploration`` if it was drawn at random, ``pin`` or ``quota`` if
    the policy did. ``because``: the past movies with the largest shares of the score.
    """

    source: str
    because: tuple[Reason, ...] = ()
    score: ScoreParts = ScoreParts()
    rating: RatingParts | None = None


class MovieDocument(msgspec.Struct, frozen=True):
    """One movie of an answer. ``title``, ``year`` and ``genres`` are null or empty where the artifact lacks them."""

    movie_id: str
    title: str | None
    year: int | None
    genres: tuple[str, ...]
    score: float
    rating: float | None
    propensity: float
    interval: tuple[float, float] | UnsetType | None = UNSET
    reason: Explanation | UnsetType = UNSET


class AnswerDocument(msgspec.Struct, frozen=True):
    """Answer to ``GET /recommend/<user_id>``.

    ``next_page`` is the token of the next page, null if there is none. ``user_id`` is empty in an answer without a
    profile.
    """

    recommendation_id: str
    user_id: str
    arm: str
    model_version: str
    release: int
    policy: int
    tier: str
    notes: tuple[str, ...]
    next_page: str | None
    movies: tuple[MovieDocument, ...]


class SimilarDocument(msgspec.Struct, frozen=True):
    """Answer to ``GET /similar/<movie_id>``."""

    movie_id: str
    title: str | None
    user_id: str
    arm: str
    model_version: str
    release: int
    policy: int
    notes: tuple[str, ...]
    movies: tuple[MovieDocument, ...]
