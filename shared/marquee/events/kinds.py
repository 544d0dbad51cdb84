"""What a line of the log says, once it has been read.

Times are aware and in UTC, with microseconds. Ids are opaque text from outside.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Watch:
    """One minute of one movie was watched; ``minute`` counts from 0."""

    time: datetime
    user_id: str
    movie_id: str
    minute: int


@dataclass(frozen=True, slots=True)
class Rating:
    """A movie was rated, from 1 to the top of the scale."""

    time: datetime
    user_id: str
    movie_id: str
    rating: int


@dataclass(frozen=True, slots=True)
class RecommendationRequest:
    """A request for recommendations, as the service that made it logged it.

    ``time`` is when it was sent, ``response_ms`` how long the service waited. With status 200
    ``movie_ids`` holds the answer and ``result`` is empty; with any other status ``movie_ids`` is
    empty and ``result`` says what went wrong. Status 0 stands for no answer at all.
    """

    time: datetime
    user_id: str
    server: str
    status: int
    movie_ids: tuple[str, ...]
    result: str
    response_ms: int


@dataclass(frozen=True, slots=True)
class AccountCreated:
    """A customer joined."""

    time: datetime
    user_id: str


Event = Watch | Rating | RecommendationRequest | AccountCreated


class Category(StrEnum):
    """Why a line could not be read: the first part of it, from the left, that is not as it should be."""

    ENCODING = "encoding"  # not UTF-8, or holds a character that no line holds
    EMPTY = "empty"
    TIME = "time"
    USER_ID = "user_id"
    REQUEST = "request"  # none of the requests that the protocol knows
    MOVIE_ID = "movie_id"
    MINUTE = "minute"
    RATING = "rating"
    RECOMMENDATION = "recommendation"  # server, status, result or response time of one


@dataclass(frozen=True, slots=True)
class MalformedRecord:
    """A line that is not an event; ``detail`` says what was found and what is valid."""

    category: Category
    detail: str
