"""Playback positions: the last minute that each user watched of each movie."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
from pymongo import DESCENDING
from pymongo.errors import DuplicateKeyError

from marquee.app.documents import Documents

_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


class Position(msgspec.Struct, frozen=True):
    """The last minute that a user watched of a movie."""

    movie_id: str
    minute: int
    at: datetime


class Positions:
    """The positions of all users."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents

    def write(self, user_id: str, movie_id: str, minute: int, at: datetime) -> None:
        """Record a watched minute. The minute with the latest time ``at`` wins, regardless of the order of arrival."""
        newer = {"$gt": [at, {"$ifNull": ["$at", _LONG_AGO]}]}
        fields = {
            "user_id": {"$literal": user_id},
            "movie_id": {"$literal": movie_id},
            "minute": {"$cond": [newer, minute, "$minute"]},
            "at": {"$cond": [newer, at, "$at"]},
        }
        key = {"_id": f"{user_id}/{movie_id}"}
        with self._documents.collection("positions") as positions:
            try:
                positions.update_one(key, [{"$set": fields}], upsert=True)
            except DuplicateKeyError:  # Another request has just created the document.
                positions.update_one(key, [{"$set": fields}])

    def read(self, user_id: str, movie_id: str) -> int:
        """Return the last minute watched; 0 if none."""
        with self._documents.collection("positions") as positions:
            found = positions.find_one({"_id": f"{user_id}/{movie_id}"}, {"minute": 1})
        return int(found["minute"]) if found else 0

    def read_newest(self, user_id: str, limit: int) -> list[Position]:
        """Return the positions of a user, the latest first."""
        with self._documents.collection("positions") as positions:
            found = list(positions.find({"user_id": user_id}).sort("at", DESCENDING).limit(limit))
        return [Position(row["movie_id"], int(row["minute"]), row["at"]) for row in found]
