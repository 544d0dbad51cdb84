"""Who pushes: the OIDC token that Pub/Sub sends with each push, checked.

See https://cloud.google.com/pubsub/docs/authenticate-push-subscriptions. The signature, the times and the audience
are checked by google-auth; the certificates are fetched here, since its own way brings a second HTTP library.
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
# Google changes its keys every few days, and announces them long before.
_CERTS_FOR_S = 3600.0
# A key that is not known may be new; asked for too often, it is somebody else's.
_CERTS_AGAIN_S = 60.0
_CLOCK_SKEW_S = 10

Certificates = Mapping[str, str]
"""PEM by key id."""


class PushIdentity:
    """Accepts tokens for ``audience`` of the one ``service_account``; safe to share between threads."""

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
        self._fetched = float("-inf")

    def check(self, headers: Mapping[str, str]) -> None:
        """Return if the request carries a good token.

        Raises PushRefused if it does not, and PushUnverifiable while the certificates cannot be had. Neither
        repeats any of the token.
        """
        scheme, _, token = headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise PushRefused("no bearer token: the push subscription needs an OIDC token")
        claims = self._verified(token.strip())
        if claims.get("iss") not in ISSUERS:
            raise PushRefused("the token's issuer is not Google")
        if claims.get("email") != self._service_account or claims.get("email_verified") is not True:
            raise PushRefused(f"the token is not of {self._service_account}")

    def _verified(self, token: str) -> Mapping[str, object]:
        from google.auth import jwt
        from google.auth.exceptions import GoogleAuthError

        try:
            certs = self._current(str(jwt.decode_header(token).get("kid")))  # type: ignore[no-untyped-call]
            claims: Mapping[str, object] = jwt.decode(  # type: ignore[no-untyped-call]
                token, certs=certs, audience=self._audience, clock_skew_in_seconds=_CLOCK_SKEW_S
            )
        except (GoogleAuthError, ValueError) as error:
            # The library's message holds the token or its claims: it is not repeated.
            raise PushRefused(f"the token is not good: {type(error).__name__}") from None
        return claims

    def _current(self, key_id: str) -> Certificates:
        with self._lock:
            age_s = self._clock() - self._fetched
            if age_s > _CERTS_FOR_S or (key_id not in self._certs and age_s > _CERTS_AGAIN_S):
                self._certs, self._fetched = _fetch(self._certs_url), self._clock()
            return self._certs


def _fetch(url: str) -> Certificates:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            certs: Certificates = json.loads(answer.read())
    except (OSError, ValueError) as error:
        raise PushUnverifiable(f"no certificates from {url}: {error}") from error
    return certs
