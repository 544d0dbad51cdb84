"""Access of callers to the HTTP APIs: who calls, what they may do, and how often.

| access | without a key |
|---|---|
| private | refused; if no keys are set, a server that listens on loopback answers |
| platform | trusted: the platform in front of the function has authenticated the caller |
| public | may read; rate-limited by address, and their impressions are not logged |
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from marquee.config.api_keys import KEY_PREFIX, READ, SCOPES, ApiKey, find_key, parse_api_keys
from marquee.config.loopback_guard import listens_on_loopback
from marquee.config.rate_limit import CallLimiter
from marquee.config.settings import Settings
from marquee.config.user_tokens import TOKEN_PREFIX, read_token
from marquee.errors import CallRefused

PRIVATE, PLATFORM, PUBLIC = "private", "platform", "public"
KEY_HEADER = "Marquee-Key"


class Caller(msgspec.Struct, frozen=True):
    """A caller of an API. ``user_id`` is the only user a token's holder may read for; None: all users.

    ``trusted``: authenticated, by a key or by where the function runs.
    """

    name: str
    scopes: frozenset[str]
    user_id: str | None = None
    trusted: bool = True


LOCAL = Caller("local", frozenset(SCOPES))
_PLATFORM = Caller("platform", frozenset(SCOPES))
_ANONYMOUS = Caller("anonymous", frozenset([READ]), trusted=False)


class AccessPolicy:
    """The rules of one function; safe to share between threads.

    ``per_key`` and ``per_address`` are limits in requests a second of one process; 0 means none.
    """

    def __init__(
        self,
        mode: str = PRIVATE,
        keys: tuple[ApiKey, ...] = (),
        token_secret: str = "",
        *,
        per_key: float = 0,
        per_address: float = 0,
        now_s: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._mode, self._keys, self._token_secret = mode, keys, token_secret
        self._by_key, self._by_address = CallLimiter(per_key, clock), CallLimiter(per_address, clock)
        self._now_s = now_s

    def admit(self, environ: Mapping[str, Any], scope: str, user_id: str | None = None) -> Caller:
        """Return the caller of a WSGI request that needs ``scope``, about one user if ``user_id`` is not None.

        Raises :class:`CallRefused` with 401, 403 or 429.
        """
        caller = self._identify(environ)
        if caller is _ANONYMOUS:
            self._limit(self._by_address, find_address(environ))
        elif caller is not LOCAL and caller is not _PLATFORM:
            self._limit(self._by_key, caller.name)
        if scope not in caller.scopes:
            if not caller.trusted:
                raise _unauthorized("Writing needs a key.")
            raise CallRefused(403, f"{caller.name} may not {scope}: it may {', '.join(sorted(caller.scopes))}.", {})
        if caller.user_id is not None and user_id is not None and caller.user_id != user_id:
            raise CallRefused(403, "This token is for another user.", {})
        return caller

    def _identify(self, environ: Mapping[str, Any]) -> Caller:
        credential = _find_credential(environ)
        if not credential:
            return self._identify_keyless(environ)
        if credential.startswith(TOKEN_PREFIX):
            if token := read_token(self._token_secret, credential, self._now_s()):
                return Caller(f"token/{token.user_id}", frozenset([READ]), token.user_id)
        elif key := find_key(self._keys, credential):
            return Caller(key.name, key.scopes)
        self._limit(self._by_address, find_address(environ))
        raise _unauthorized("The key or token is unknown or has expired.")

    def _identify_keyless(self, environ: Mapping[str, Any]) -> Caller:
        if self._mode == PLATFORM:
            return _PLATFORM
        if self._mode == PUBLIC:
            return _ANONYMOUS
        if not self._keys and listens_on_loopback(environ):
            return LOCAL
        raise _unauthorized("This function answers callers with a key only.")

    @staticmethod
    def _limit(limiter: CallLimiter, caller: str) -> None:
        if wait_s := limiter.take(caller):
            retry = {"Retry-After": str(math.ceil(wait_s))}
            raise CallRefused(429, "Too many requests: send them more slowly.", retry)


def create_access(settings: Settings) -> AccessPolicy:
    """Return the policy of a function, from its settings."""
    return AccessPolicy(
        settings.access,
        parse_api_keys(settings.api_keys),
        settings.token_secret,
        per_key=settings.requests_per_s,
        per_address=settings.requests_per_s / 10,
    )


def find_address(environ: Mapping[str, Any]) -> str:
    """Return the caller's address: of the last proxy's ``X-Forwarded-For`` if the peer is a proxy of this network."""
    from ipaddress import ip_address

    peer = str(environ.get("REMOTE_ADDR", ""))
    forwarded = str(environ.get("HTTP_X_FORWARDED_FOR", "")).rpartition(",")[2].strip()
    try:
        return str(ip_address(forwarded)) if forwarded and ip_address(peer).is_private else peer
    except ValueError:
        return peer


def _find_credential(environ: Mapping[str, Any]) -> str:
    """Return the key or token of a request; an Authorization of another system, such as the platform's, is none."""
    if given := environ.get("HTTP_MARQUEE_KEY"):
        return str(given).strip()
    kind, _, credential = str(environ.get("HTTP_AUTHORIZATION", "")).partition(" ")
    credential = credential.strip()
    return credential if kind.lower() == "bearer" and credential.startswith((KEY_PREFIX, TOKEN_PREFIX)) else ""


def _unauthorized(reason: str) -> CallRefused:
    hint = f"Send a key as `{KEY_HEADER}: mk_...` or `Authorization: Bearer mk_...` (docs/access.md)."
    return CallRefused(401, f"{reason} {hint}", {"WWW-Authenticate": 'Bearer realm="marquee"'})
