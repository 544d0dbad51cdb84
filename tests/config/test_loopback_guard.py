"""The guard of servers on loopback, as a WSGI application."""

from __future__ import annotations

from typing import Any

import pytest

from marquee.config.loopback_guard import LoopbackGuard


def status_of(method: str = "POST", server: str = "127.0.0.1", **headers: str) -> str:
    """Return the status of a request to a guarded application that answers 200."""
    statuses: list[str] = []

    def application(_environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [b"done"]

    environ = {"REQUEST_METHOD": method, "SERVER_NAME": server, "PATH_INFO": "/"}
    environ |= {f"HTTP_{name.upper()}": value for name, value in headers.items()}

    def start_response(status: str, *_: Any) -> Any:
        statuses.append(status)

    body = b"".join(LoopbackGuard(application)(environ, start_response))
    assert (body == b"done") == (statuses == ["200 OK"])
    return statuses[0][:3]


@pytest.mark.parametrize("host", ["127.0.0.1:8081", "localhost:8081", "LOCALHOST", "[::1]:8081", "[::1]"])
def test_guard_host_of_this_machine_is_answered(host: str) -> None:
    """With or without a port, in any case."""
    assert status_of(host=host) == "200"


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8081", "127.0.0.1.evil.example", "localhost:8081.evil", "0.0.0.0:80"],
)
def test_guard_other_host_is_421(host: str) -> None:
    """A website that points its own name at this machine is not answered (DNS rebinding)."""
    assert status_of("GET", host=host) == "421"


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "http://127.0.0.1.evil.example",
        "null",
        "",
        "file://",
        "https://127.0.0.1@evil.example",
    ],
)
def test_guard_page_of_another_site_is_403(origin: str) -> None:
    """A page may send `fetch(..., {mode: "no-cors"})`; its browser adds the origin."""
    assert status_of(host="127.0.0.1:8081", origin=origin) == "403"


def test_guard_page_of_this_machine_is_answered() -> None:
    """On another port too: the playground asks `recommend`."""
    assert status_of("GET", host="localhost:8082", origin="http://localhost:3001") == "200"


def test_guard_cross_site_request_without_origin_is_403_but_links_work() -> None:
    """An image of another site sends no origin; a link that a person follows is answered."""
    assert status_of("GET", host="localhost", sec_fetch_site="cross-site", sec_fetch_mode="no-cors") == "403"
    assert status_of("POST", host="localhost", sec_fetch_site="cross-site", sec_fetch_mode="navigate") == "403"
    assert status_of("GET", host="localhost", sec_fetch_site="cross-site", sec_fetch_mode="navigate") == "200"
    assert status_of("GET", host="localhost", sec_fetch_site="same-origin", sec_fetch_mode="cors") == "200"


@pytest.mark.parametrize("server", ["0.0.0.0", "10.0.0.7"])
def test_guard_on_another_address_does_nothing(server: str) -> None:
    """In a container any host name is valid."""
    assert status_of(server=server, host="recommend.example.edu", origin="https://example.edu") == "200"
