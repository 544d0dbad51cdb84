"""The server of the page: documents, refusals and security headers."""

from __future__ import annotations

import http.client
import json
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest
from tests.page.conftest import ROOT, insert_rollback, no_alerts, serve_page
from tests.serving.models import release_still_model

from marquee.cli.main import main
from marquee.config.loopback_guard import is_local_host
from marquee.db.pool import Database
from marquee.grafana import panel_files
from marquee.grafana.panel_files import BoardFile
from marquee.local.process import free_port
from marquee.page.playground import Playground, PlaygroundSettings
from marquee.page.runbook_html import render_runbook
from marquee.page.serializers import local_runbook_url
from marquee.page.server import DashboardPage, plotly_js
from marquee.registry.object_store.file_store import FileStore
from marquee.registry.rollout import rollback

pytestmark = pytest.mark.servers
PATHS = ("/", "/api/boards", "/api/alerts", "/api/boards/marquee-stream/panels/1", "/plotly.js", "/nowhere")


def send(
    url: str, path: str, method: str = "GET", headers: Mapping[str, str] | None = None
) -> tuple[int, Any, Mapping[str, str]]:
    """Return status, body (parsed if JSON) and headers."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=20)
    connection.request(method, path, headers=dict(headers or {}))
    response = connection.getresponse()
    body, response_headers = response.read(), dict(response.getheaders())
    connection.close()
    is_json = response_headers.get("Content-Type", "").startswith("application/json")
    return response.status, json.loads(body) if is_json else body.decode(), response_headers


def test_boards_response_has_no_sql(day_url: str) -> None:
    """The document has all boards and panels in order, and no SQL."""
    status, document, _ = send(day_url, "/api/boards")
    assert status == 200
    assert [board["uid"] for board in document["boards"]][:2] == [
        "marquee-service-health",
        "marquee-model-quality",
    ]
    assert document["range"] == "24h"
    assert list(document["ranges"]) == ["15m", "1h", "6h", "24h", "7d", "30d"]
    assert "SELECT" not in json.dumps(document)
    panel = next(p for p in document["boards"][0]["panels"] if p["title"] == "Requests by outcome")
    assert panel["stacked"]
    assert panel["series"] == {"answered": "green", "late": "orange", "failed": "red"}


def test_panel_time_series_is_within_the_time_range(day_url: str) -> None:
    """Times are in milliseconds, ascending and within the requested range."""
    status, document, _ = send(day_url, "/api/boards/marquee-service-health/panels/5?range=6h")
    assert status == 200
    assert [column["kind"] for column in document["columns"]] == ["time", "number", "number", "number"]
    times = [row[0] for row in document["rows"]]
    assert times == sorted(times)
    assert document["from"] - document["interval_ms"] <= times[0] < times[-1] < document["to"]
    assert document["to"] - document["from"] == 6 * 3_600_000
    assert abs(document["to"] / 1000 - time.time()) < 600
    assert document["complete"]


@pytest.mark.parametrize(
    ("path", "status", "message"),
    [
        ("/api/boards/marquee-stream/panels/99", 404, "no such panel"),
        ("/api/boards/unknown/panels/1", 404, "no such panel"),
        ("/api/boards/marquee-stream/panels/1?range=1h;DROP", 400, "range is one of 15m"),
        ("/api/boards/marquee-stream/panels/1?range=", 400, "range is one of"),
        ("/d/unknown", 404, "no such dashboard"),
        ("/static/server.py", 404, "Not Found"),
        ("/static/..%2fserver.py", 404, "Not Found"),
        ("/runbooks/..%2f..%2fREADME", 404, "no such runbook"),
    ],
)
def test_unknown_path_is_refused_with_reason(day_url: str, path: str, status: int, message: str) -> None:
    """Unknown boards, panels, ranges and files have an error status and a message."""
    response_status, body, _ = send(day_url, path)
    assert response_status == status
    assert message in (body["error"] if isinstance(body, dict) else body)


def test_methods_other_than_get_are_refused(day_url: str) -> None:
    """The page is read-only."""
    assert send(day_url, "/api/boards", "POST")[0] == 405
    assert send(day_url, "/api/boards/marquee-stream/panels/1", "PUT")[0] == 405


@pytest.mark.parametrize("path", PATHS)
def test_foreign_host_name_is_refused(day_url: str, path: str) -> None:
    """A website that points its own host name at 127.0.0.1 gets no data (DNS rebinding)."""
    status, body, _ = send(day_url, path, headers={"Host": "evil.example:80"})
    assert status == 421
    assert "serves this machine only" in body


@pytest.mark.parametrize("path", PATHS)
def test_every_response_has_the_security_headers(day_url: str, path: str) -> None:
    """All responses, errors included, forbid foreign resources, inline scripts and framing."""
    _, _, headers = send(day_url, path)
    policy = headers["Content-Security-Policy"].split("; ")
    assert {"default-src 'none'", "script-src 'self'", "connect-src 'self'", "frame-ancestors 'none'"} <= set(policy)
    assert "unsafe-eval" not in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    ("host", "is_local"),
    [
        *[(host, True) for host in ("127.0.0.1", "127.0.0.1:3001", "localhost:3001", "[::1]", "[::1]:3001")],
        *[(host, False) for host in ("", "evil.example", "127.0.0.1.evil.example:3001", "127.0.0.1:", "::1")],
        *[(host, False) for host in ("localhost:80:80", "0.0.0.0", "127.0.0.1:x", "evil.example:127.0.0.1")],
    ],
)
def test_is_local_host_names_of_this_machine_only(host: str, is_local: bool) -> None:
    """Only names of this machine, with a valid port or none, are local."""
    assert is_local_host(host) is is_local


@pytest.fixture
def broken_page(day_page: DashboardPage) -> DashboardPage:
    """A page with a panel whose query fails, and one with values that JSON does not have."""
    board = day_page.boards["marquee-stream"]
    first, second = board.panels[:2]
    failing = _with_sql(first, "SELECT nothing FROM nowhere")
    special = _with_sql(second, "SELECT 'NaN'::float8 AS a, 1.50::numeric AS b, INTERVAL '90 s' AS c, NULL AS d")
    return _with_board(day_page, msgspec.structs.replace(board, panels=(failing, special)))


def _with_sql(panel: panel_files.PanelFile, sql: str) -> panel_files.PanelFile:
    target = msgspec.structs.replace(panel.targets[0], raw_sql=sql)
    return msgspec.structs.replace(panel, targets=(target,))


def _with_board(page: DashboardPage, board: BoardFile) -> DashboardPage:
    return DashboardPage(page.database, {board.uid: board}, no_alerts)


def test_panel_failing_query_returns_its_error(broken_page: DashboardPage) -> None:
    """The response has the database's message."""
    with serve_page(broken_page) as url:
        status, document, _ = send(url, "/api/boards/marquee-stream/panels/1")
        assert status == 500
        assert 'relation "nowhere" does not exist' in document["error"]


def test_panel_special_values_are_json(broken_page: DashboardPage) -> None:
    """NaN is null, decimals and intervals (in seconds) are numbers."""
    with serve_page(broken_page) as url:
        _, document, _ = send(url, "/api/boards/marquee-stream/panels/2")
        assert document["rows"] == [[None, 1.5, 90, None]]


def test_alerts_response_has_the_age_of_the_newest_record(day_page: DashboardPage, plain_database: Database) -> None:
    """An age in seconds, or none on an empty database."""
    with serve_page(day_page) as url:
        age = send(url, "/api/alerts")[1]["newest_record_s"]
        assert 0 <= age < 600
    with serve_page(DashboardPage(plain_database, day_page.boards, no_alerts)) as url:
        assert send(url, "/api/alerts")[1] == {"alerts": [], "newest_record_s": None, "rollback": None}


def test_alerts_response_has_the_newest_rollback_of_the_hour(
    day_page: DashboardPage, plain_database: Database, tmp_path: Path
) -> None:
    """By the monitor from its decisions, by a person from the releases; none after an hour."""
    store = FileStore(tmp_path)
    playground = Playground(PlaygroundSettings("http://127.0.0.1:9", "", f"file://{store.root}"), plain_database)
    with serve_page(replace(day_page, database=plain_database, playground=playground)) as url:
        insert_rollback(plain_database, "61 minutes", "too old")
        assert send(url, "/api/alerts")[1]["rollback"] is None
        insert_rollback(plain_database, "1 minute", "canary harms")
        assert send(url, "/api/alerts")[1]["rollback"]["reason"] == "canary harms"
        for _ in range(2):
            release_still_model(store)
        rollback(store, author="ana", reason="lists look odd", to=1)
        assert send(url, "/api/alerts")[1]["rollback"]["reason"] == "lists look odd"


@pytest.fixture
def unavailable_database() -> Iterator[Database]:
    database = Database(f"postgresql://app@127.0.0.1:{free_port()}/unknown", connect_timeout_s=2)
    yield database
    database.close()


def test_panel_unavailable_database_returns_503(day_page: DashboardPage, unavailable_database: Database) -> None:
    """The panel has a message instead of rows; the page itself is served."""
    with serve_page(DashboardPage(unavailable_database, day_page.boards, no_alerts)) as url:
        status, document, _ = send(url, "/api/boards/marquee-stream/panels/1")
        assert status == 503
        assert "No connection to" in document["error"]
        assert send(url, "/")[0] == 200


def test_runbook_is_served_from_its_folder(day_page: DashboardPage, tmp_path: Path) -> None:
    """Links to docs/runbooks become local paths; other links stay."""
    (tmp_path / "lag.md").write_text("# Lag\n")
    with serve_page(DashboardPage(day_page.database, day_page.boards, no_alerts, runbooks=tmp_path)) as url:
        status, page, headers = send(url, "/runbooks/lag")
        assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
        assert "<h1>Lag</h1>" in page
    assert local_runbook_url("https://example.com/blob/main/docs/runbooks/lag.md") == "/runbooks/lag"
    assert local_runbook_url("https://example.com/other.md") == "https://example.com/other.md"


def test_plotly_js_is_served_from_its_package(day_url: str) -> None:
    """The page needs no other host."""
    _, body, headers = send(day_url, "/plotly.js")
    assert headers["Content-Type"].startswith("text/javascript")
    assert body == plotly_js().read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--files", "nowhere"], "nowhere holds no dashboard"),
        (["--files", str(ROOT / "dashboards"), "--port", "{taken}"], "Cannot listen on"),
    ],
)
def test_dashboards_command_invalid_arguments_are_reported(
    arguments: list[str],
    message: str,
    day_url: str,
    day_database: Database,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The error names the folder without dashboards, or the port in use."""
    monkeypatch.setenv("MARQUEE_DATABASE_URL", day_database.url)
    taken = str(urlsplit(day_url).port)
    assert main(["dashboards", *[argument.format(taken=taken) for argument in arguments]]) == 1
    assert message in capsys.readouterr().err


def test_render_runbook_every_page_has_no_markdown_left() -> None:
    """Headings, code, lists, bold text and links are HTML, and every link to a runbook leads to one."""
    for path in sorted((ROOT / "docs/runbooks").glob("*.md")):
        page = render_runbook(path.read_text(encoding="utf-8"))
        prose = re.sub(r"<(pre|code)[^>]*>.*?</\1>", "", page, flags=re.DOTALL)
        assert not re.search(r"^#|```|\*\*|\]\(|`", prose, re.MULTILINE), path.name
        for name in re.findall(r'href="/runbooks/([^"]+)"', page):
            assert (ROOT / f"docs/runbooks/{name}.md").is_file()
        assert page.count("<pre") == path.read_text(encoding="utf-8").count("```") // 2


def test_render_runbook_text_is_never_html() -> None:
    """A file of the folder cannot bring a script or another scheme into the page."""
    page = render_runbook("# <b>A</b>\n\n1. [x](javascript:alert(1)) `<i>` <script>\n   ```\n   a < b\n   ```\n")
    assert "<script>" not in page
    assert 'href="javascript' not in page
    assert "<h1>&lt;b&gt;A&lt;/b&gt;</h1>" in page
    assert '<pre tabindex="0">a &lt; b</pre>' in page
