"""Classes of events, which are also the JSON schema of events (docs/events.schema.json).

Times are aware, in UTC, with microseconds. Ids are opaque text from outside. The constraints hold for JSON only; the
text of the event log has stricter ones.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta

MAX_SHOWN = 200
"""Movies of one ``impression_shown``."""

# A dollar sign would also match before a line break at the end.
_ID = r"^[^,/\\\x00-\x1f\x7f-\x9f]+(?![\s\S])"
ID_RULE = "1 to 128 characters without a control character, a comma, a slash or a backslash"

Time: TypeAlias = Annotated[datetime, Meta(tz=True, description="Time of the event, with a time zone")]
UserId: TypeAlias = Annotated[
    str, Meta(pattern=_ID, max_length=128, description=f"The user: {ID_RULE}", examples=["42"])
]
MovieId: TypeAlias = Annotated[
    str, Meta(pattern=_ID, max_length=128, description=f"The movie: {ID_RULE}", examples=["fargo+1996"])
]
RecommendationId: TypeAlias = Annotated[
    str, Meta(pattern=_ID, max_length=128, description="The recommendation_id of an answer of `recommend`")
]
_Int4 = Annotated[int, Meta(ge=0, le=2**31 - 1)]


class _Event(msgspec.Struct, frozen=True, tag_field="type", gc=False):
    time: Time
    user_id: UserId


class Watch(_Event, frozen=True, tag="watch"):
    """One minute of one movie watched by one user; ``minute`` counts from 0."""

    movie_id: MovieId
    minute: Annotated[int, Meta(ge=0, le=9_999_999)]


class Rating(_Event, frozen=True, tag="rating"):
    """A user's rating of a movie, on the scale of the settings."""

    movie_id: MovieId
    rating: Annotated[
        float,
        Meta(ge=0, le=10, multiple_of=0.5, description="A rating of the service's scale: by default 1, 2, 3, 4 or 5"),
    ]


class RecommendationRequest(_Event, frozen=True, tag="recommendation_request"):
    """A request for recommendations, as the streaming service logged it.

    ``time`` is when the request was sent, ``response_ms`` the time until the answer. With status 200,
    ``movie_ids`` is the answer and ``result`` is empty. With any other status, ``movie_ids`` is empty and
    ``result`` is the error text. Status 0 means that no answer came.
    """

    server: Annotated[str, Meta(min_length=1, max_length=300)]
    status: Annotated[int, Meta(ge=0, le=999)]
    movie_ids: Annotated[tuple[MovieId, ...], Meta(max_length=1_000)]
    result: Annotated[str, Meta(max_length=10_000)]
    response_ms: _Int4


class AccountCreated(_Event, frozen=True, tag="account"):
    """A new user's account."""


class ImpressionShown(_Event, frozen=True, tag="impression_shown"):
    """Movies of an answer that the user has had on the screen."""

    recommendation_id: RecommendationId
    movie_ids: Annotated[tuple[MovieId, ...], Meta(min_length=1, max_length=MAX_SHOWN)]


class Click(_Event, frozen=True, tag="click"):
    """A movie of an answer that the user has opened."""

    recommendation_id: RecommendationId
    movie_id: MovieId


Event = Watch | Rating | RecommendationRequest | AccountCreated | ImpressionShown | Click
