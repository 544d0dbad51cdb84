"""Functions with invalid settings, on the wire: they live, answer 503, and their log names the settings."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.servers.function import Function

from marquee.config.function_server import NOT_CONFIGURED

pytestmark = pytest.mark.servers
SECRET = "hunter2"


@pytest.mark.parametrize(
    ("name", "requests"),
    [
        ("recommend", [("GET", "/recommend/1"), ("GET", "/version")]),
        ("events", [("POST", "/events")]),
        ("ingest", [("POST", "/")]),
        ("monitor", [("POST", "/")]),
        ("app", [("GET", "/")]),
    ],
)
def test_function_invalid_settings_are_503_and_in_the_log(
    name: str, requests: list[tuple[str, str]], tmp_path: Path
) -> None:
    """Neither the answer nor the log shows a secret; the health check succeeds, because a restart would not help."""
    with Function(name, tmp_path, {"MARQUEE_TOKEN_SECRET": SECRET, "MARQUEE_OBJECTS_URL": "s3:/bucket"}) as function:
        assert function.get("/healthz").status == 200
        for method, path in requests:
            reply = function.get(path, method)
            assert (reply.status, reply.body.decode()) == (503, NOT_CONFIGURED)
            assert reply.headers["Retry-After"] == "60"
            assert reply.headers["Content-Type"].startswith("text/plain")
        log = function.log.read_text()
    assert "MARQUEE_TOKEN_SECRET is '***': expected at least 32 characters" in log
    assert "MARQUEE_OBJECTS_URL is 's3:/bucket': expected file:///absolute/directory, gs://bucket/prefix" in log
    assert SECRET not in log


def test_function_missing_setting_is_503_and_in_the_log(tmp_path: Path) -> None:
    """The log says which one, and gives an example."""
    with Function("recommend", tmp_path, {}) as function:
        assert function.get("/recommend/1").status == 503
        assert "MARQUEE_OBJECTS_URL is not set: Object storage" in function.log.read_text()
