"""Verification of the OIDC token that Pub/Sub sends with each push.

See https://cloud.google.com/pubsub/docs/authenticate-push-subscriptions. google-auth verifies signature,
times and audience. The certificates are fetched here, because google-auth would need a second HTTP library.
"""

from __future__ import annotations

import json
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping
from http.client import HTTPException

from marquee.errors import PushRefused, PushUnverifiable

GOOGLE_CERTS = "https://www.googleapis.com/oauth2/v1/certs"
ISSUERS = ("https://accounts.google.com", "accounts.google.com")
# Google rotates its keys every few days, and publishes new ones long before.
_CERTS_MAX_AGE_S = 3600.0
# An unknown key may be new. Fetching for each unknown key would let a forger trigger requests.
_CERTS_MIN_AGE_S = 60.0
_CLOCK_SKEW_S = 10
# A known key is accepted for this long while the certificates are unavailable.
_CERTS_STALE_S = 86_400.0
_MAX_BACKOFF_S = 60.0
# Wait of a push for the first fetch, if another push is fetching.
_FIRST_WAIT_S = 1.0
_MAX_TOKEN_LENGTH = 16_384
_MAX_CERTS_BYTES = 1_000_000

Certificates = Mapping[str, str]
"""PEM by key id."""


class PushIdentity:
    """Verifier of tokens for ``audience`` from the one ``service_account``; safe to share between threads."""

    def __init__(
        self,
        audience: str,
        service_account: str,
        certs_url: str = GOOGLE_CERTS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._audience, self._service_account = audience, service_account
        self.certs_url, self._clock = certs_url, clock
        self._lock = threading.Lock()
        # Replaced as a whole, so that it can be read without the lock.
        self._fetched: tuple[Certificates, float] = ({}, float("-inf"))
        self._failures, self._retry_at = 0, float("-inf")

    def check(self, headers: Mapping[str, str]) -> None:
        """Check that the request carries a valid token.

        No error message contains any part of the token. Raises :class:`PushRefused` if the token is missing or
        invalid, and :class:`PushUnverifiable` while the certificates are unavailable.
        """
        scheme, _, token = headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise PushRefused("no bearer token: the push subscription needs an OIDC token")
        if len(token) > _MAX_TOKEN_LENGTH:
            raise PushRefused(f"the token has more than {_MAX_TOKEN_LENGTH} characters")
        claims = self._verify(token.strip())
        if claims.get("iss") not in ISSUERS:
            raise PushRefused("the token's issuer is not Google")
        if claims.get("email") != self._service_account or claims.get("email_verified") is not True:
            raise PushRefused(f"the token does not belong to {self._service_account}")

    def _verify(self, token: str) -> Mapping[str, object]:
        from google.auth import jwt

        try:
            certs = self._current_certs(str(jwt.decode_header(token).get("kid")))  # type: ignore[no-untyped-call]
            claims: object = jwt.decode(  # type: ignore[no-untyped-call]
                token, certs=certs, audience=self._audience, clock_skew_in_seconds=_CLOCK_SKEW_S
            )
        except PushUnverifiable:
            raise
        # The library raises any error for a forged token: of its own, TypeError for claims of another type,
        # RecursionError for deep nesting. Its message contains the token or its claims, so it is not repeated.
        except Exception as error:
            raise PushRefused(f"the token is not valid: {type(error).__name__}") from None
        if not isinstance(claims, Mapping):
            raise PushRefused("the token is not valid: its claims are no object")
        return claims

    def _current_certs(self, key_id: str) -> Certificates:
        """Return the certificates; fetch them if they are old or lack the key.

        One thread fetches at a time, and the others do not wait: a forger who sends unknown keys while the
        address is slow must not delay the pushes whose key is known.
        """
        certs, fetched_at = self._fetched
        age_s = self._clock() - fetched_at
        known = key_id in certs and age_s <= _CERTS_STALE_S
        if age_s <= (_CERTS_MAX_AGE_S if key_id in certs else _CERTS_MIN_AGE_S):
            return certs
        if self._clock() < self._retry_at or not self._lock.acquire(timeout=0 if certs else _FIRST_WAIT_S):
            return _known_certs(certs, known)
        try:
            return self._fetch()
        except PushUnverifiable:
            if known:
                return certs
            raise
        finally:
            self._lock.release()

    def _fetch(self) -> Certificates:
        """Fetch the certificates; after repeated failures, the next attempts wait for longer and longer."""
        try:
            certs = _fetch_certs(self.certs_url)
        except PushUnverifiable:
            backoff_s = min(2.0**self._failures, _MAX_BACKOFF_S) if self._failures else 0.0
            self._failures += 1
            self._retry_at = self._clock() + backoff_s
            raise
        self._failures, self._retry_at = 0, float("-inf")
        self._fetched = (certs, self._clock())
        return certs


def _known_certs(certs: Certificates, known: bool) -> Certificates:
    if known:
        return certs
    raise PushUnverifiable("the key of the token is unknown, and the certificates cannot be fetched now")


def _fetch_certs(url: str) -> Certificates:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            certs = json.loads(answer.read(_MAX_CERTS_BYTES))
        if not isinstance(certs, dict):
            raise ValueError("the answer is no JSON object")
    except (OSError, ValueError, HTTPException) as error:
        raise PushUnverifiable(f"no certificates from {url}: {error}") from error
    return certs
