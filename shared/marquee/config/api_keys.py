"""Keys of callers.

A key is a random text that begins with ``mk_``. The setting ``api_keys`` has its SHA-256 only, as
``<name>:<scopes>:<SHA-256>``.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

READ, WRITE = "read", "write"
SCOPES = (READ, WRITE)
KEY_PREFIX = "mk_"
NONE = "-"
"""Value of a setting without keys or without a secret, for secret stores that do not accept empty values."""
MIN_SECRET = 32
"""Minimum length of a secret, in characters."""

_ENTRY = r"([a-z0-9][a-z0-9-]{0,63}):((?:read|write)(?:\+(?:read|write))*):([0-9a-f]{64})"


class ApiKey(NamedTuple):
    """A caller's name, what it may do, and the SHA-256 of its key in hexadecimal."""

    name: str
    scopes: frozenset[str]
    digest: str

    def __str__(self) -> str:
        return f"{self.name}:{'+'.join(s for s in SCOPES if s in self.scopes)}:{self.digest}"


def parse_api_keys(raw: str) -> tuple[ApiKey, ...]:
    """Return the entries of the setting ``api_keys``. Raises ``ValueError`` with the valid form."""
    keys: list[ApiKey] = []
    if raw == NONE:
        return ()
    for entry in filter(None, (part.strip() for part in raw.split(","))):
        match = re.fullmatch(_ENTRY, entry)
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
