"""Keys of callers, and tokens that apps hold.

A key is a random text that begins with ``mk_``. The setting ``api_keys`` has its SHA-256 only, as
``<name>:<scopes>:<SHA-256>``. A token begins with ``mt1.`` and lets its holder read for one user until it expires:

    mt1.<base64url of {"user_id": "42", "expires": 1796040000}>.<base64url of the HMAC-SHA-256 of the text before>
"""

from __future__ import annotations

import hashlib
import hmac
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec

READ, WRITE = "read", "write"
SCOPES = (READ, WRITE)
KEY_PREFIX, TOKEN_PREFIX = "mk_", "mt1."
NONE = "-"
"""Text of a setting without keys or without a secret, for secret stores that keep no empty text."""
MIN_SECRET = 32
"""Characters of the secret of tokens, at least."""
MAX_TOKEN_S = 86_400
"""Longest life of a token in seconds: a token cannot be withdrawn."""

_ENTRY = re.compile(r"([a-z0-9][a-z0-9-]{0,63}):((?:read|write)(?:\+(?:read|write))*):([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A caller's name, what it may do, and the SHA-256 of its key in hexadecimal."""

    name: str
    scopes: frozenset[str]
    digest: str

    def __str__(self) -> str:
        return f"{self.name}:{'+'.join(s for s in SCOPES if s in self.scopes)}:{self.digest}"


class UserToken(msgspec.Struct, frozen=True):
    """The content of a token: the user whose lists its holder may read, until ``expires`` (seconds since 1970)."""

    user_id: str
    expires: int


def parse_api_keys(raw: str) -> tuple[ApiKey, ...]:
    """Return the entries of the setting ``api_keys``. Raises ``ValueError`` with the valid form."""
    keys: list[ApiKey] = []
    if raw == NONE:
        return ()
    for entry in filter(None, (part.strip() for part in raw.split(","))):
        match = _ENTRY.fullmatch(entry)
        if match is None or match[1] in {key.name for key in keys}:
            raise ValueError(
                "entries <name>:<scopes>:<SHA-256 of the key>, separated by commas; scopes are read, write or "
                "read+write, and each name occurs once. `marquee keys create` makes an entry"
            )
        keys.append(ApiKey(match[1], frozenset(match[2].split("+")), match[3]))
    return tuple(keys)


def api_keys_text(raw: str) -> str:
    """Return the setting ``api_keys`` itself, checked. Raises ``ValueError`` with the valid form."""
    parse_api_keys(raw)
    return raw


def token_secret(raw: str) -> str:
    """Parse the setting ``token_secret``. Raises ``ValueError`` if it is short."""
    if raw == NONE:
        return ""
    if 0 < len(raw) < MIN_SECRET:
        raise ValueError(f"at least {MIN_SECRET} characters, such as the output of `openssl rand -hex 32`")
    return raw


def create_key(name: str, scopes: Iterable[str]) -> tuple[str, ApiKey]:
    """Return a new random key, and its entry. Raises ``ValueError`` if name or scopes are invalid."""
    import secrets

    key = KEY_PREFIX + secrets.token_urlsafe(32)
    (entry,) = parse_api_keys(f"{name}:{'+'.join(scopes)}:{digest(key)}")
    return key, entry


def digest(key: str) -> str:
    """Return the SHA-256 of a key in hexadecimal."""
    return hashlib.sha256(key.encode()).hexdigest()


def find_key(keys: Sequence[ApiKey], key: str) -> ApiKey | None:
    """Return the entry of a key, in the same time for any key of this length."""
    presented, found = digest(key), None
    for entry in keys:
        if hmac.compare_digest(entry.digest, presented):
            found = entry
    return found


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
