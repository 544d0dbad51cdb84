"""Devices: hashes of the tokens in their cookies, and the codes that add a second device to a user."""

from __future__ import annotations

import hashlib
import secrets
from datetime import UTC, datetime, timedelta

from marquee.app.document_schema import CODE_MINUTES
from marquee.app.documents import Documents

# Without 0, O, 1, I and L, which are easily confused.
_CODE_ALPHABET = "23456789ABCDEFGHJKMNPQRSTUVWXYZ"
CODE_LENGTH = 8


class Devices:
    """The devices of all users."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents

    def add(self, user_id: str, now: datetime) -> str:
        """Add a device of ``user_id``; return its token of 256 random bits, of which only the hash is stored."""
        token = secrets.token_urlsafe(32)
        with self._documents.collection("devices") as devices:
            devices.insert_one({"_id": digest(token), "user_id": user_id, "made": now, "seen": now})
        return token

    def check(self) -> None:
        """Raise :class:`DocumentsUnavailable` or :class:`DocumentsRefused` if a device could not be added now."""
        self._documents.ping()

    def find_user(self, token: str, now: datetime) -> str | None:
        """Return the user of the device with ``token``, or None, and record the visit at most once a day."""
        with self._documents.collection("devices") as devices:
            found = devices.find_one({"_id": digest(token)}, {"user_id": 1, "seen": 1})
            if found is None:
                return None
            if now - found["seen"] > timedelta(days=1):  # One write a day instead of one for each request.
                devices.update_one({"_id": found["_id"]}, {"$set": {"seen": now}})
        return str(found["user_id"])

    def make_code(self, user_id: str, now: datetime) -> str:
        """Return a new code that adds another device to ``user_id``, and invalidate the earlier code."""
        code = "".join(secrets.choice(_CODE_ALPHABET) for _ in range(CODE_LENGTH))
        with self._documents.collection("join_codes") as codes:
            codes.delete_many({"user_id": user_id})
            codes.insert_one({"_id": digest(code), "user_id": user_id, "made": now})
        return code

    def redeem_code(self, code: str, now: datetime) -> str | None:
        """Return the user of ``code``, which becomes invalid; None if it is unknown, used or expired."""
        normalized = "".join(code.upper().split()).replace("-", "")
        with self._documents.collection("join_codes") as codes:
            found = codes.find_one_and_delete({"_id": digest(normalized)})
        # The TTL index deletes expired codes only once a minute.
        if found is None or now - found["made"] > timedelta(minutes=CODE_MINUTES):
            return None
        return str(found["user_id"])


def digest(secret: str) -> str:
    """Return the SHA-256 of a token or code in hexadecimal."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def utc_now() -> datetime:
    """Return the current time in UTC, truncated to milliseconds as MongoDB stores it."""
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)
