"""Types of the JSON responses. A test compares them with the structs that the functions encode."""

from __future__ import annotations

from typing import NotRequired, TypedDict


class AnsweredReason(TypedDict):
    """One past movie and its share of a score."""

    movie_id: str
    share: float
    title: NotRequired[str]
    rating: NotRequired[float]


class AnsweredExplanation(TypedDict):
    """The origin of a movie in a list; ``because`` has the past movies with the largest shares of its score."""

    source: str
    because: NotRequired[list[AnsweredReason]]
    score: NotRequired[dict[str, float]]
    rating: NotRequired[dict[str, object]]


class AnsweredMovie(TypedDict):
    """One movie of an answer."""

    movie_id: str
    title: str | None
    year: int | None
    genres: list[str]
    score: float
    rating: float | None
    propensity: float
    interval: NotRequired[tuple[float, float] | None]
    reason: NotRequired[AnsweredExplanation]


class AnsweredList(TypedDict):
    """Answer to ``GET /recommend/<user_id>``, best movie first."""

    recommendation_id: str
    user_id: str
    arm: str
    model_version: str
    release: int
    policy: int
    tier: str
    notes: list[str]
    next_page: str | None
    movies: list[AnsweredMovie]


class AnsweredSimilar(TypedDict):
    """Answer to ``GET /similar/<movie_id>``, the most similar movie first."""

    movie_id: str
    title: str | None
    user_id: str
    arm: str
    model_version: str
    release: int
    policy: int
    notes: list[str]
    movies: list[AnsweredMovie]


class AnsweredRefusal(TypedDict):
    """An event of a request that was put in quarantine."""

    index: int
    id: str | None
    category: str
    reason: str


class AnsweredReceipt(TypedDict):
    """Answer to ``POST /events``."""

    accepted: int
    repeated: int
    refused: list[AnsweredRefusal]
