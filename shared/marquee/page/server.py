"""The server of the page.

Requests name a dashboard by uid, a panel by id and a time range from a list; they never contain SQL.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from aiohttp import web

from marquee.db.pool import Database
from marquee.errors import MarqueeError
from marquee.grafana import durations
from marquee.grafana.macros import TimeRange
from marquee.grafana.panel_files import BoardFile, PanelFile
from marquee.grafana.panel_query import run_panel_query
from marquee.monitoring.alerts.evaluate import Alert
from marquee.page.playground import Playground
from marquee.page.playground_routes import PlaygroundRoutes
from marquee.page.recent_rollback import find_rollback
from marquee.page.responses import STATIC, make_html, make_json, run_in_thread
from marquee.page.runbook_html import render_runbook
from marquee.page.security_headers import restrict_access
from marquee.page.serializers import serialize_alert, serialize_board, serialize_table

RANGES = {
    "15m": "15 minutes",
    "1h": "1 hour",
    "6h": "6 hours",
    "24h": "24 hours",
    "7d": "7 days",
    "30d": "30 days",
}
# Concurrent queries, each with a database connection.
MAX_QUERIES = 4
_FILES = {
    "page.js": "text/javascript",
    "draw.js": "text/javascript",
    "units.js": "text/javascript",
    "page.css": "text/css",
    "icon.svg": "image/svg+xml",
    "play.js": "text/javascript",
    "play_cards.js": "text/javascript",
    "play_posters.js": "text/javascript",
    "play.css": "text/css",
}
_NEWEST_RECORD = "SELECT extract(epoch FROM now() - max(updated)) AS age FROM written_offsets"


@dataclass(frozen=True)
class DashboardPage:
    """The content of the page.

    ``alerts`` returns the alerts, the most severe first. ``span`` is the initial time range, a key of :data:`RANGES`.
    """

    database: Database
    boards: Mapping[str, BoardFile]
    alerts: Callable[[], Sequence[Alert]]
    span: str = "1h"
    runbooks: Path | None = None
    playground: Playground | None = None


def create_application(page: DashboardPage) -> web.Application:
    """Return the aiohttp application of ``page``."""
    server = _Server(page)
    app = web.Application(middlewares=[restrict_access])
    app.router.add_get("/", server.index)
    app.router.add_get("/d/{uid}", server.index)
    app.router.add_get("/static/{name}", server.static)
    app.router.add_get("/plotly.js", server.plotly)
    app.router.add_get("/runbooks/{name}", server.runbook)
    app.router.add_get("/api/boards", server.boards)
    app.router.add_get("/api/boards/{uid}/panels/{id:[0-9]+}", server.panel)
    app.router.add_get("/api/alerts", server.alerts)
    app.router.add_get("/healthz", server.health)
    app.on_cleanup.append(server.close)
    if page.playground:
        PlaygroundRoutes(page.playground).add_to(app)
    return app


class _Server:
    def __init__(self, page: DashboardPage) -> None:
        self._page = page
        self._threads = ThreadPoolExecutor(MAX_QUERIES, "query")

    async def close(self, _app: web.Application) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def index(self, request: web.Request) -> web.Response:
        uid = request.match_info.get("uid")
        if uid is not None and uid not in self._page.boards:
            raise web.HTTPNotFound(reason="There is no such dashboard")
        return make_html("index.html")

    async def static(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in _FILES:
            raise web.HTTPNotFound
        return web.Response(body=(STATIC / name).read_bytes(), content_type=_FILES[name], charset="utf-8")

    async def plotly(self, _request: web.Request) -> web.StreamResponse:
        """Serve Plotly's file from its package; the browser caches and revalidates it."""
        return web.FileResponse(
            plotly_js(),
            headers={"Content-Type": "text/javascript; charset=utf-8", "Cache-Control": "no-cache"},
        )

    async def runbook(self, request: web.Request) -> web.Response:
        """Serve a page of docs/runbooks as HTML."""
        folder, name = self._page.runbooks, request.match_info["name"]
        pages = {path.stem: path for path in folder.glob("*.md")} if folder else {}
        if name not in pages:
            raise web.HTTPNotFound(reason="There is no such runbook")
        page = render_runbook(pages[name].read_text(encoding="utf-8"))
        return web.Response(text=page, content_type="text/html", charset="utf-8")

    async def health(self, _request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def boards(self, _request: web.Request) -> web.Response:
        boards = [serialize_board(board) for board in self._page.boards.values()]
        play = self._page.playground is not None
        return make_json({"boards": boards, "ranges": RANGES, "range": self._page.span, "playground": play})

    async def panel(self, request: web.Request) -> web.Response:
        try:
            panel = self._page.boards[request.match_info["uid"]].panel(int(request.match_info["id"]))
        except KeyError:
            return make_json({"error": "There is no such panel"}, 404)
        span = request.query.get("range", self._page.span)
        if span not in RANGES:
            return make_json({"error": f"range is one of {', '.join(RANGES)}"}, 400)
        return await self._run_in_thread(lambda: self._query_panel(panel, span))

    async def alerts(self, _request: web.Request) -> web.Response:
        return await self._run_in_thread(self._alerts)

    def _alerts(self) -> dict[str, Any]:
        alerts = [serialize_alert(alert) for alert in self._page.alerts()]
        age, rollback = self._newest_record_age_s(), find_rollback(self._page.database, self._page.playground)
        return {"alerts": alerts, "newest_record_s": age, "rollback": rollback}

    def _newest_record_age_s(self) -> float | None:
        """Return how long ago a record was last written, None if never or if the database does not answer."""
        try:
            ((age,),) = run_panel_query(self._page.database, _NEWEST_RECORD, TimeRange.last(timedelta(hours=1))).rows
        except MarqueeError:
            return None  # An alert names a database that cannot be queried.
        return None if age is None else max(0.0, float(age))

    def _query_panel(self, panel: PanelFile, span: str) -> dict[str, Any]:
        time = TimeRange.last(durations.parse_duration(span), points=panel.max_data_points, min_interval=panel.interval)
        table = run_panel_query(self._page.database, panel.sql, time)
        limits = {"from": time.start.timestamp() * 1000, "to": time.end.timestamp() * 1000}
        return {
            **serialize_table(panel, table),
            **limits,
            "interval_ms": time.interval / timedelta(milliseconds=1),
        }

    async def _run_in_thread(self, work: Callable[[], dict[str, Any]]) -> web.Response:
        return await run_in_thread(self._threads, work, error_status=500)


def plotly_js() -> Path:
    """Return the path of Plotly's JavaScript; the package is not imported."""
    spec = importlib.util.find_spec("plotly")
    if spec is None or spec.origin is None:
        raise MarqueeError("The package plotly is not installed: pip install 'marquee[page]'")
    return Path(spec.origin).parent / "package_data/plotly.min.js"
