"""Profiles: one document for each user with consent, choice of personalized lists, and movies to watch."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from marquee.app.documents import Documents

CONSENT_TEXT = 1
"""Version of the consent text. After a change each user is asked again."""
MAX_LIST = 500


class Profile(msgspec.Struct, frozen=True):
    """The stored choices of a user. ``analytics`` is None until the user has answered the current consent text."""

    user_id: str
    analytics: bool | None = None
    personal: bool = True
    movie_ids: tuple[str, ...] = ()


class Profiles:
    """The profiles of all users."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents

    def read(self, user_id: str) -> Profile:
        """Return the profile of ``user_id``; the default profile if none is stored."""
        with self._documents.collection("profiles") as profiles:
            found = profiles.find_one({"_id": user_id}) or {}
        consent = found.get("consent") or {}
        current = consent.get("text") == CONSENT_TEXT
        analytics = bool(consent["analytics"]) if current else None
        return Profile(user_id, analytics, bool(found.get("personal", True)), tuple(found.get("list", ())))

    def set_consent(self, user_id: str, analytics: bool, now: datetime) -> None:
        """Record the answer to the consent question. A refusal deletes the events of ``user_id``.

        The withdrawal is kept until the monitor has deleted the rows derived from these events.
        """
        self._change(user_id, now, {"consent": {"analytics": analytics, "text": CONSENT_TEXT, "at": now}})
        if not analytics:
            delete_events(self._documents, user_id, now)

    def set_personal(self, user_id: str, personal: bool, now: datetime) -> None:
        """Turn recommendations based on the user's history on or off."""
        self._change(user_id, now, {"personal": personal})

    def put_on_list(self, user_id: str, movie_id: str, now: datetime) -> bool:
        """Append a movie to the list; return False if the list is full."""
        with self._documents.collection("profiles") as profiles:
            profiles.update_one({"_id": user_id}, {"$setOnInsert": {"made": now}}, upsert=True)
            full = {f"list.{MAX_LIST - 1}": {"$exists": True}}
            changed = profiles.update_one({"_id": user_id, "$nor": [full]}, {"$addToSet": {"list": movie_id}})
        return changed.matched_count == 1

    def take_off_list(self, user_id: str, movie_id: str) -> None:
        """Remove a movie from the list."""
        with self._documents.collection("profiles") as profiles:
            profiles.update_one({"_id": user_id}, {"$pull": {"list": movie_id}})

    def _change(self, user_id: str, now: datetime, values: dict[str, Any]) -> None:
        update = {"$set": values, "$setOnInsert": {"made": now}}
        with self._documents.collection("profiles") as profiles:
            profiles.update_one({"_id": user_id}, update, upsert=True)


def delete_events(documents: Documents, user_id: str, now: datetime) -> None:
    """Delete the analytics events of a user, and request the deletion of derived rows from the monitor."""
    with documents.collection("withdrawals") as withdrawals:
        withdrawals.replace_one({"_id": user_id}, {"_id": user_id, "at": now}, upsert=True)
    with documents.collection("events") as events:
        events.delete_many({"user_id": user_id})
