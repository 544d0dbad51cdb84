"""Tests of the fast path: it answers recommendations, and passes other paths to the framework."""

from __future__ import annotations

from typing import Any
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

from marquee.serving.fast_path import Environ, FastPath
from marquee.serving.http_api import Reply


def request(path: str, method: str = "GET") -> tuple[str, dict[str, str], bytes]:
    """Send one request through a validator of WSGI, as both server and application."""

    def framework(_: Environ, start_response: Any) -> list[bytes]:
        start_response("418 I'm a Teapot", [("Content-Type", "text/plain")])
        return [b"the framework"]

    def reply(method: str, path: str, _: Environ) -> Reply:
        return Reply(200, f"{method} {path}".encode(), headers={"Marquee-Tier": "popular"})

    found: list[Any] = []
    environ: dict[str, Any] = {"PATH_INFO": path, "REQUEST_METHOD": method, "SCRIPT_NAME": ""}
    setup_testing_defaults(environ)
    environ["QUERY_STRING"] = ""

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        found.extend([status, headers])
        return lambda _: None

    body = validator(FastPath(framework, reply))(environ, start_response)
    try:
        return found[0], dict(found[1]), b"".join(body)
    finally:
        body.close()  # type: ignore[attr-defined]


def test_fast_path_recommendation_is_answered_without_the_framework() -> None:
    """Status, headers and body are those of the reply."""
    status, headers, body = request("/recommend/7")
    assert (status, body) == ("200 OK", b"GET /recommend/7")
    assert headers["Content-Length"] == "16"
    assert headers["Marquee-Tier"] == "popular"


def test_fast_path_other_path_goes_to_the_framework() -> None:
    """So does the prefix without its slash."""
    assert request("/healthz")[2] == b"the framework"
    assert request("/recommend")[2] == b"the framework"


def test_fast_path_head_has_headers_and_no_body() -> None:
    """Content-Length is that of the GET."""
    status, headers, body = request("/recommend/7", "HEAD")
    assert (status, headers["Content-Length"], body) == ("200 OK", "17", b"")


def test_fast_path_non_ascii_path_is_decoded_as_utf8() -> None:
    """WSGI passes UTF-8 as Latin-1; bytes that are not UTF-8 are replaced."""
    assert request("/recommend/" + "\u0663".encode().decode("latin-1"))[2] == "GET /recommend/\u0663".encode()
    assert request("/recommend/\xff")[2] == "GET /recommend/\ufffd".encode()
