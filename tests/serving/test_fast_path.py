"""The shortcut: recommendations are answered before the framework, and every other path goes to it."""

from __future__ import annotations

from typing import Any
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

from marquee.serving.fast_path import Environ, FastPath
from marquee.serving.http_api import Reply


def call(path: str, method: str = "GET") -> tuple[str, dict[str, str], bytes]:
    """Through a validator of the protocol, as both server and application."""

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


def test_recommendations_are_answered_here() -> None:
    status, headers, body = call("/recommend/7")
    assert (status, body) == ("200 OK", b"GET /recommend/7")
    assert headers["Content-Length"] == "16"
    assert headers["Marquee-Tier"] == "popular"


def test_other_paths_go_to_the_framework() -> None:
    assert call("/healthz")[2] == b"the framework"
    assert call("/recommend")[2] == b"the framework"


def test_head_has_the_headers_and_no_body() -> None:
    status, headers, body = call("/recommend/7", "HEAD")
    assert (status, headers["Content-Length"], body) == ("200 OK", "17", b"")


def test_a_path_in_another_alphabet_arrives_as_it_was_meant() -> None:
    """WSGI hands over UTF-8 as Latin-1; bytes that are no UTF-8 are borne."""
    assert call("/recommend/" + "\u0663".encode().decode("latin-1"))[2] == "GET /recommend/\u0663".encode()
    assert call("/recommend/\xff")[2] == "GET /recommend/\ufffd".encode()
