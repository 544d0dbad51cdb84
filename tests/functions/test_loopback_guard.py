"""The functions on loopback refuse what pages of other sites send, over HTTP."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from pathlib import Path

import pytest

from marquee.local.function_process import function_instance, health_check
from marquee.local.infra_spec import read_functions
from marquee.local.process import free_port

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.servers


@pytest.fixture(scope="module", params=["ingest", "recommend", "monitor", "app"])
def port(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Start a function without settings; return its port."""
    port, folder = free_port(), tmp_path_factory.mktemp("function")
    function = read_functions(ROOT)[request.param]
    environment = {"PYTHONPATH": str(ROOT / "shared")}
    process = function_instance(request.param, function, ROOT, folder, port, environment)
    process.start()
    process.wait_healthy(health_check(f"http://127.0.0.1:{port}/healthz"))
    yield port
    process.stop()


def answer(port: int, method: str, path: str, **headers: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path, headers={name.replace("_", "-"): text for name, text in headers.items()})
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def test_function_post_of_another_site_is_403(port: int) -> None:
    """`fetch(url, {method: "POST", mode: "no-cors"})` of any website reaches nothing."""
    assert answer(port, "POST", "/", Origin="https://evil.example", Content_Type="text/plain")[0] == 403
    assert answer(port, "POST", "/", Origin="null")[0] == 403


@pytest.mark.parametrize("path", ["/healthz", "/recommend/1", "/version"])
def test_function_other_host_is_421(port: int, path: str) -> None:
    """Whatever the path, a foreign host name is not answered, and the answer says which ones are."""
    status, text = answer(port, "GET", path, Host="evil.example")
    assert status == 421
    assert "127.0.0.1, localhost" in text


def test_function_host_of_this_machine_is_answered(port: int) -> None:
    """By address and by name."""
    for host in (f"127.0.0.1:{port}", f"localhost:{port}"):
        assert answer(port, "GET", "/healthz", Host=host) == (200, "ok\n")
