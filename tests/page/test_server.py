"""The page's server: what it gives, and what it refuses."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest
from tests.page.conftest import ROOT, nothing_fires, served

from marquee.cli.main import main
from marquee.db.pool import Database
from marquee.grafana import panel_files
from marquee.grafana.panel_files import BoardFile
from marquee.local.process import free_port
from marquee.page.security_headers import is_local_host
from marquee.page.serializers import local_runbook_url
from marquee.page.server import DashboardPage, plotly_js

pytestmark = pytest.mark.servers
REFUSED = ("/", "/api/boards", "/api/alerts", "/api/boards/marquee-stream/panels/1", "/plotly.js", "/nowhere")


def ask(
    url: str, path: str, method: str = "GET", headers: Mapping[str, str] | None = None
) -> tuple[int, Any, Mapping[str, str]]:
    """Status, body (JSON read) and headers."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=20)
    connection.request(method, path, headers=dict(headers or {}))
    answer = connection.getresponse()
    body, found = answer.read(), dict(answer.getheaders())
    connection.close()
    is_json = found.get("Content-Type", "").startswith("application/json")
    return answer.status, json.loads(body) if is_json else body.decode(), found


def test_the_boards_without_their_queries(day_url: str) -> None:
    """All that the browser draws by, in the order in which a person asks; no SQL leaves."""
    status, found, _ = ask(day_url, "/api/boards")
    assert status == 200
    assert [board["uid"] for board in found["boards"]][:2] == [
        "marquee-service-health",
        "marquee-model-quality",
    ]
    assert found["range"] == "24h"
    assert list(found["ranges"]) == ["15m", "1h", "6h", "24h", "7d", "30d"]
    assert "SELECT" not in json.dumps(found)
    panel = next(p for p in found["boards"][0]["panels"] if p["title"] == "Requests by outcome")
    assert panel["stacked"]
    assert panel["series"] == {"answered": "green", "late": "orange", "failed": "red"}


def test_a_panels_rows(day_url: str) -> None:
    """A time series has times in milliseconds, in order, within the time that was asked for."""
    status, found, _ = ask(day_url, "/api/boards/marquee-service-health/panels/5?range=6h")
    assert status == 200
    assert [column["kind"] for column in found["columns"]] == ["time", "number", "number", "number"]
    times = [row[0] for row in found["rows"]]
    assert times == sorted(times)
    assert found["from"] - found["interval_ms"] <= times[0] < times[-1] < found["to"]
    assert found["to"] - found["from"] == 6 * 3_600_000
    assert abs(found["to"] / 1000 - time.time()) < 600
    assert found["whole"]


@pytest.mark.parametrize(
    ("path", "status", "says"),
    [
        ("/api/boards/marquee-stream/panels/99", 404, "no such panel"),
        ("/api/boards/nobody/panels/1", 404, "no such panel"),
        ("/api/boards/marquee-stream/panels/1?range=1h;DROP", 400, "range is one of 15m"),
        ("/api/boards/marquee-stream/panels/1?range=", 400, "range is one of"),
        ("/d/nobody", 404, "no such dashboard"),
        ("/static/server.py", 404, "Not Found"),
        ("/static/..%2fserver.py", 404, "Not Found"),
        ("/runbooks/..%2f..%2fREADME", 404, "no such runbook"),
    ],
)
def test_what_is_not_there(day_url: str, path: str, status: int, says: str) -> None:
    found, body, _ = ask(day_url, path)
    assert found == status
    assert says in (body["error"] if isinstance(body, dict) else body)


def test_nothing_can_be_sent(day_url: str) -> None:
    assert ask(day_url, "/api/boards", "POST")[0] == 405
    assert ask(day_url, "/api/boards/marquee-stream/panels/1", "PUT")[0] == 405


@pytest.mark.parametrize("path", REFUSED)
def test_a_name_of_somebody_elses_is_refused(day_url: str, path: str) -> None:
    """A site may point a name of its own at 127.0.0.1; it learns nothing."""
    status, body, _ = ask(day_url, path, headers={"Host": "evil.example:80"})
    assert status == 421
    assert "serves this machine only" in body


@pytest.mark.parametrize("path", REFUSED)
def test_every_answer_has_the_policy(day_url: str, path: str) -> None:
    """Also a refusal: nothing is loaded from elsewhere, no script is inline, nobody frames it."""
    _, _, headers = ask(day_url, path)
    policy = headers["Content-Security-Policy"].split("; ")
    assert {"default-src 'none'", "script-src 'self'", "connect-src 'self'", "frame-ancestors 'none'"} <= set(
        policy
    )
    assert "unsafe-eval" not in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    ("host", "ours"),
    [
        *[(host, True) for host in ("127.0.0.1", "127.0.0.1:3001", "localhost:3001", "[::1]", "[::1]:3001")],
        *[(host, False) for host in ("", "evil.example", "127.0.0.1.evil.example:3001", "127.0.0.1:", "::1")],
        *[(host, False) for host in ("localhost:80:80", "0.0.0.0", "127.0.0.1:x", "evil.example:127.0.0.1")],
    ],
)
def test_names_of_this_machine(host: str, ours: bool) -> None:
    assert is_local_host(host) is ours


@pytest.fixture
def broken(day_page: DashboardPage) -> DashboardPage:
    """A panel whose query cannot run, and one whose query says something that is no number."""
    board = day_page.boards["marquee-stream"]
    first, second = board.panels[:2]
    wrong = _with_sql(first, "SELECT nothing FROM nowhere")
    odd = _with_sql(second, "SELECT 'NaN'::float8 AS a, 1.50::numeric AS b, INTERVAL '90 s' AS c, NULL AS d")
    return _with_board(day_page, msgspec.structs.replace(board, panels=(wrong, odd)))


def _with_sql(panel: panel_files.PanelFile, sql: str) -> panel_files.PanelFile:
    target = msgspec.structs.replace(panel.targets[0], raw_sql=sql)
    return msgspec.structs.replace(panel, targets=(target,))


def _with_board(page: DashboardPage, board: BoardFile) -> DashboardPage:
    return DashboardPage(page.database, {board.uid: board}, nothing_fires)


def test_a_query_that_cannot_run_says_why(broken: DashboardPage) -> None:
    with served(broken) as url:
        status, found, _ = ask(url, "/api/boards/marquee-stream/panels/1")
        assert status == 500
        assert 'relation "nowhere" does not exist' in found["error"]


def test_values_that_json_does_not_have(broken: DashboardPage) -> None:
    with served(broken) as url:
        _, found, _ = ask(url, "/api/boards/marquee-stream/panels/2")
        assert found["rows"] == [[None, 1.5, 90, None]]


@pytest.fixture
def database_away() -> Iterator[Database]:
    database = Database(f"postgresql://app@127.0.0.1:{free_port()}/nobody", connect_timeout_s=2)
    yield database
    database.close()


def test_a_database_that_is_away(day_page: DashboardPage, database_away: Database) -> None:
    """A sentence in place of the rows; the page itself is there."""
    with served(DashboardPage(database_away, day_page.boards, nothing_fires)) as url:
        status, found, _ = ask(url, "/api/boards/marquee-stream/panels/1")
        assert status == 503
        assert "No connection to" in found["error"]
        assert ask(url, "/")[0] == 200


def test_a_runbook_is_shown_here(day_page: DashboardPage, tmp_path: Path) -> None:
    (tmp_path / "lag.md").write_text("# Lag\n")
    with served(DashboardPage(day_page.database, day_page.boards, nothing_fires, runbooks=tmp_path)) as url:
        assert ask(url, "/runbooks/lag")[:2] == (200, "# Lag\n")
    assert local_runbook_url("https://example.com/blob/main/docs/runbooks/lag.md") == "/runbooks/lag"
    assert local_runbook_url("https://example.com/other.md") == "https://example.com/other.md"


def test_plotly_comes_from_its_package(day_url: str) -> None:
    _, body, headers = ask(day_url, "/plotly.js")
    assert headers["Content-Type"].startswith("text/javascript")
    assert body == plotly_js().read_text()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--files", "nowhere"], "nowhere holds no dashboard"),
        (["--files", str(ROOT / "dashboards"), "--port", "{taken}"], "Cannot listen on"),
    ],
)
def test_the_verb_says_what_is_wrong(
    words: list[str],
    says: str,
    day_url: str,
    day_database: Database,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MARQUEE_DATABASE_URL", day_database.url)
    taken = str(urlsplit(day_url).port)
    assert main(["dashboards", *[word.format(taken=taken) for word in words]]) == 1
    assert says in capsys.readouterr().err
