"""Tests of who may read recommendations, and whose impressions are logged."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from marquee.config.access import AccessPolicy
from marquee.config.api_keys import create_key
from marquee.config.user_tokens import UserToken, sign_token
from marquee.serving.caller_check import CallerCheck
from marquee.serving.http_api import RecommendHttp, Reply
from marquee.serving.instrumentation import InstrumentedApp

SECRET = "s" * 32
KEY, ENTRY = create_key("app", ["read"])
NETWORK = {"SERVER_NAME": "0.0.0.0", "REMOTE_ADDR": "93.184.216.34"}


def make_app(mode: str) -> InstrumentedApp:
    """Return an app whose handlers tell which of them answered."""

    def handler(name: str) -> RecommendHttp:
        return cast(RecommendHttp, SimpleNamespace(reply=lambda *_: Reply(200, name.encode())))

    policy = AccessPolicy(mode, (ENTRY,), SECRET, now_s=lambda: 1_000.0)
    trusted = handler("trusted")
    return InstrumentedApp(trusted, callers=CallerCheck(policy, trusted, handler("anonymous")))


def ask(app: InstrumentedApp, path: str, key: str = "", query: str = "") -> tuple[int, str]:
    environ: dict[str, Any] = {**NETWORK, "HTTP_MARQUEE_KEY": key, "QUERY_STRING": query}
    reply = app.reply("GET", path, environ)
    return reply.status, reply.body.decode()


def test_anonymous_caller_gets_the_handler_without_impressions() -> None:
    """With `public`, what a caller without a key is shown does not become an impression."""
    app = make_app("public")
    assert ask(app, "/recommend/7") == (200, "anonymous")
    assert ask(app, "/recommend/7", KEY) == (200, "trusted")
    assert ask(app, "/recommend/7", KEY + "x")[0] == 401


@pytest.mark.parametrize("path", ["/recommend/7", "/similar/up+2009"])
def test_private_function_refuses_callers_without_a_key(path: str) -> None:
    """Lists and similar movies need a key; health and version do not."""
    app = make_app("private")
    status, text = ask(app, path)
    assert (status, "Send a key" in text) == (401, True)
    assert ask(app, path, KEY) == (200, "trusted")
    assert ask(app, "/readyz") == ask(app, "/version") == (200, "trusted")


def test_token_reads_what_is_about_its_user() -> None:
    """Their lists and similar movies mixed with their scores, not those of another user."""
    app, token = make_app("private"), sign_token(SECRET, UserToken("7", 2_000))
    assert ask(app, "/recommend/7", token)[0] == 200
    assert ask(app, "/recommend/8", token)[0] == 403
    assert ask(app, "/similar/up+2009", token)[0] == 200
    assert ask(app, "/similar/up+2009", token, "n=5&user=7")[0] == 200
    assert ask(app, "/similar/up+2009", token, "n=5&us%65r=8")[0] == 403
