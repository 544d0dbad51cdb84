"""Check of the callers of recommendations: who may read, and whose impressions are logged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from marquee.config.access import AccessPolicy
from marquee.config.api_keys import READ
from marquee.errors import CallRefused
from marquee.serving.http_api import RECOMMEND, SIMILAR, RecommendHttp, Reply, make_text_reply

GUARDED = (RECOMMEND, SIMILAR)
"""Paths that need the scope ``read``; the others tell nothing about users."""


class CallerCheck:
    """Chooses the handler of a request: ``trusted``, or ``anonymous``, which logs no impressions."""

    def __init__(self, policy: AccessPolicy, trusted: RecommendHttp, anonymous: RecommendHttp) -> None:
        self._policy, self._trusted, self._anonymous = policy, trusted, anonymous

    def choose(self, path: str, environ: Mapping[str, Any]) -> RecommendHttp:
        """Return the handler for the caller of a WSGI request. Raises :class:`CallRefused`."""
        if not path.startswith(GUARDED):
            return self._trusted
        user_id = path.removeprefix(RECOMMEND) if path.startswith(RECOMMEND) else _find_user(environ)
        return self._trusted if self._policy.admit(environ, READ, user_id).trusted else self._anonymous


def refuse(error: CallRefused) -> Reply:
    """Return the reply to a caller that is refused."""
    return make_text_reply(error.status, str(error), {**error.headers, "Cache-Control": "no-store"})


def _find_user(environ: Mapping[str, Any]) -> str | None:
    """Return the parameter ``user`` of a query string; None if it names none."""
    pairs = (part.partition("=") for part in str(environ.get("QUERY_STRING", "")).split("&"))
    return next((unquote(text) for name, _, text in pairs if unquote(name) == "user"), None)
