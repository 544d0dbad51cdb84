"""Signed tokens that apps hold.

A token begins with ``mt1.`` and lets its holder read for one user until it expires:

    mt1.<base64url of {"user_id": "42", "expires": 1796040000}>.<base64url of the HMAC-SHA-256 of the text before>
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error

import msgspec

TOKEN_PREFIX = "mt1."
MAX_TOKEN_S = 86_400
"""Maximum lifetime of a token in seconds. It is short, because a token cannot be revoked."""


class UserToken(msgspec.Struct, frozen=True):
    """The content of a token: the user whose lists its holder may read, until ``expires`` (seconds since 1970)."""

    user_id: str
    expires: int


def sign_token(secret: str, token: UserToken) -> str:
    """Return the text of a token."""
    payload = TOKEN_PREFIX + _to_base64(msgspec.json.encode(token))
    return f"{payload}.{_to_base64(_mac(secret, payload))}"


def read_token(secret: str, text: str, now_s: float) -> UserToken | None:
    """Return a token that is signed with ``secret`` and has not expired, else None."""
    payload, _, signature = text.rpartition(".")
    try:
        if not secret or not hmac.compare_digest(_from_base64(signature), _mac(secret, payload)):
            return None
        token = msgspec.json.decode(_from_base64(payload.removeprefix(TOKEN_PREFIX)), type=UserToken)
    except (ValueError, Error, msgspec.MsgspecError):
        return None
    return token if now_s < token.expires <= now_s + MAX_TOKEN_S else None


def _mac(secret: str, payload: str) -> bytes:
    return hmac.digest(secret.encode(), payload.encode(), "sha256")


def _to_base64(content: bytes) -> str:
    return urlsafe_b64encode(content).decode().rstrip("=")


def _from_base64(text: str) -> bytes:
    return urlsafe_b64decode(text.encode() + b"=" * (-len(text) % 4))
