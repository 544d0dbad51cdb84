"""Constructors of events for the HTTP API: JSON objects of docs/events.schema.json, each with a new id."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, TypeAlias

OutgoingEvent: TypeAlias = dict[str, Any]


def make_rating(user_id: str, movie_id: str, rating: float, *, time: datetime | None = None) -> OutgoingEvent:
    """Return a rating event; ``rating`` is at least 1 and at most the maximum of the scale."""
    return _make("rating", user_id, time, movie_id=movie_id, rating=rating)


def make_watch(user_id: str, movie_id: str, minute: int, *, time: datetime | None = None) -> OutgoingEvent:
    """Return a watch event for one minute of a movie; ``minute`` counts from 0."""
    return _make("watch", user_id, time, movie_id=movie_id, minute=minute)


def make_shown(
    user_id: str, recommendation_id: str, movie_ids: Sequence[str], *, time: datetime | None = None
) -> OutgoingEvent:
    """Return an event for the movies of a list that were visible to the user."""
    return _make("impression_shown", user_id, time, recommendation_id=recommendation_id, movie_ids=list(movie_ids))


def make_click(user_id: str, recommendation_id: str, movie_id: str, *, time: datetime | None = None) -> OutgoingEvent:
    """Return an event for a movie of a list that the user opened."""
    return _make("click", user_id, time, recommendation_id=recommendation_id, movie_id=movie_id)


def _make(kind: str, user_id: str, time: datetime | None, **fields: object) -> OutgoingEvent:
    moment = time or datetime.now(UTC)
    if moment.tzinfo is None:
        raise ValueError(f"the time {moment.isoformat()} has no time zone: pass an aware datetime")
    return {"id": uuid.uuid4().hex, "time": moment.isoformat(), "type": kind, "user_id": str(user_id), **fields}
