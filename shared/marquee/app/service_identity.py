"""Identity tokens of this service, with which Cloud Run authorizes calls of a private function."""

from __future__ import annotations

import base64
import os
import threading
import time
from collections.abc import Callable, Mapping
from urllib.parse import quote

import msgspec

from marquee.config.http_client import HttpClient
from marquee.errors import RequestFailed

_PATH = "/computeMetadata/v1/instance/service-accounts/default/identity?format=full&audience="
_MARGIN_S = 300
TIMEOUT_S = 0.5


class _Claims(msgspec.Struct):
    exp: float = 0.0


class ServiceIdentity:
    """Tokens for ``audience`` from the metadata server at ``url``, each used until five minutes before it expires."""

    def __init__(self, url: str, audience: str, clock: Callable[[], float] = time.time) -> None:
        self._http = HttpClient(url, timeout_s=TIMEOUT_S)
        self._path, self._clock = _PATH + quote(audience, safe=""), clock
        self._lock = threading.Lock()
        self._token, self._ends = "", 0.0

    def headers(self) -> dict[str, str]:
        """Return the header with the token. Raises :class:`RequestFailed`."""
        with self._lock:
            if self._clock() >= self._ends - _MARGIN_S:
                self._token = self._fetch()
                self._ends = _read_end(self._token)
            return {"Authorization": f"Bearer {self._token}"}

    def _fetch(self) -> str:
        response = self._http.request("GET", self._path, headers={"Metadata-Flavor": "Google"})
        if response.status != 200:
            raise RequestFailed(
                f"the metadata server answered with status {response.status}, not 200; check the service account"
            )
        return response.body.decode("ascii", "replace").strip()


def create_identity(url: str, environment: Mapping[str, str] = os.environ) -> ServiceIdentity | None:
    """Return the identity for calls of the function at ``url``; None outside Cloud Run."""
    if "K_SERVICE" not in environment:
        return None
    host = environment.get("GCE_METADATA_HOST", "metadata.google.internal")
    return ServiceIdentity(f"http://{host}", url)


def _read_end(token: str) -> float:
    """Return the expiry of a JSON web token in seconds since 1970; 0 if its claims cannot be read."""
    payload = token.split(".")[1] if token.count(".") == 2 else ""
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)), type=_Claims).exp
    except (ValueError, msgspec.MsgspecError):
        return 0.0
