"""Environment variables whose values are secrets of Secret Manager, for jobs that no platform gives them to."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from marquee.errors import SettingsError

VARIABLE = "MARQUEE_SECRETS"
"""JSON object: name of a variable -> version of a secret, ``projects/P/secrets/S/versions/V``."""
_SERVICE = "https://secretmanager.googleapis.com/v1"
_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_DEADLINE_S = 30.0

Fetch = Callable[[str], bytes]
"""Function that returns the body of a URL."""


def read_secret_variables(environment: Mapping[str, str], fetch: Fetch | None = None) -> dict[str, str]:
    """Return the values of the variables that :data:`VARIABLE` names; none without it.

    Raises :class:`SettingsError` if it is no such object, or if a secret cannot be read.
    """
    text = environment.get(VARIABLE, "")
    if not text:
        return {}
    try:
        versions = msgspec.json.decode(text, type=dict[str, str])
    except msgspec.MsgspecError as error:
        raise SettingsError(
            f"{VARIABLE} must be a JSON object of variables and versions of secrets, such as "
            f'{{"MARQUEE_DATABASE_URL": "projects/p/secrets/s/versions/1"}}: {error}'
        ) from error
    fetch = fetch or _authorized_fetch()
    return {name: _read(fetch, name, version) for name, version in versions.items()}


def _read(fetch: Fetch, name: str, version: str) -> str:
    try:
        answer: dict[str, Any] = msgspec.json.decode(fetch(f"{_SERVICE}/{version}:access"))
        return base64.b64decode(answer["payload"]["data"]).decode()
    except Exception as error:
        raise SettingsError(
            f"the secret {version} of {name} cannot be read ({type(error).__name__}: {error}); the job's account needs "
            "the role roles/secretmanager.secretAccessor on it"
        ) from error


def _authorized_fetch() -> Fetch:
    import google.auth
    from google.auth.transport.requests import AuthorizedSession

    credentials, _ = google.auth.default(scopes=[_SCOPE])
    session = AuthorizedSession(credentials)  # type: ignore[no-untyped-call]

    def fetch(url: str) -> bytes:
        response = session.get(url, timeout=_DEADLINE_S)
        response.raise_for_status()
        content: bytes = response.content
        return content

    return fetch
