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

from marquee.errors import PushRefused, PushUnverifiable

GOOGLE_CERTS = "https://www.googleapis.com/oauth2/v1/certs"
ISSUERS = ("https://accounts.google.com", "accounts.google.com")
# Google rotates its keys every few days, and publishes new ones long before.
_CERTS_MAX_AGE_S = 3600.0
# An unknown key may be new. Fetching for each unknown key would let a forger trigger requests.
_CERTS_MIN_AGE_S = 60.0
_CLOCK_SKEW_S = 10

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
        self._certs_url, self._clock = certs_url, clock
        self._lock = threading.Lock()
        self._certs: Certificates = {}
        self._fetched_at = float("-inf")

    def check(self, headers: Mapping[str, str]) -> None:
        """Check that the request carries a valid token.

        No error message contains any part of the token. Raises :class:`PushRefused` if the token is missing or
        invalid, and :class:`PushUnverifiable` while the certificates are unavailable.
        """
        scheme, _, token = headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise PushRefused("no bearer token: the push subscription needs an OIDC token")
        claims = self._verify(token.strip())
        if claims.get("iss") not in ISSUERS:
            raise PushRefused("the token's issuer is not Google")
        if claims.get("email") != self._service_account or claims.get("email_verified") is not True:
            raise PushRefused(f"the token does not belong to {self._service_account}")

    def _verify(self, token: str) -> Mapping[str, object]:
        from google.auth import jwt
        from google.auth.exceptions import GoogleAuthError

        try:
            certs = self._current_certs(str(jwt.decode_header(token).get("kid")))  # type: ignore[no-untyped-call]
            claims: Mapping[str, object] = jwt.decode(  # type: ignore[no-untyped-call]
                token, certs=certs, audience=self._audience, clock_skew_in_seconds=_CLOCK_SKEW_S
            )
        except (GoogleAuthError, ValueError) as error:
            # The library's message contains the token or its claims, so it is not repeated.
            raise PushRefused(f"the token is not valid: {type(error).__name__}") from None
        return claims

    def _current_certs(self, key_id: str) -> Certificates:
        with self._lock:
            age_s = self._clock() - self._fetched_at
            if age_s > _CERTS_MAX_AGE_S or (key_id not in self._certs and age_s > _CERTS_MIN_AGE_S):
                self._certs, self._fetched_at = _fetch_certs(self._certs_url), self._clock()
            return self._certs


def _fetch_certs(url: str) -> Certificates:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            certs: Certificates = json.loads(answer.read())
    except (OSError, ValueError) as error:
        raise PushUnverifiable(f"no certificates from {url}: {error}") from error
    return certs
