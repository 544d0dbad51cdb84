"""Routes of the playground."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote, urlsplit

from aiohttp import web

from marquee.config.http_client import HttpResponse
from marquee.config.loopback_guard import is_local_host
from marquee.config.opaque_ids import VALID_ID, is_valid_id
from marquee.errors import InvalidRequest
from marquee.page.playground import Playground
from marquee.page.responses import make_html, make_json, run_in_thread

_THREADS = 4


class PlaygroundRoutes:
    """The handlers of ``/play`` and ``/api/play``."""

    def __init__(self, playground: Playground) -> None:
        self._playground = playground
        self._threads = ThreadPoolExecutor(_THREADS, "play")

    def add_to(self, app: web.Application) -> None:
        """Add the routes to the page's application."""
        app.router.add_get("/play", self.index)
        app.router.add_get("/api/play", self.describe)
        app.router.add_get("/api/play/movies", self.movies)
        app.router.add_get("/api/play/recommend/{id}", self.recommend)
        app.router.add_get("/api/play/similar/{id}", self.similar)
        app.router.add_get("/api/play/compare/{release:[0-9]{1,9}}/{arm}/{id}", self.compare)
        app.router.add_get("/api/play/users/{id}", self.user)
        app.router.add_post("/api/play/events", self.events)
        app.on_cleanup.append(self.close)

    async def close(self, _app: web.Application) -> None:
        """End the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def index(self, _request: web.Request) -> web.Response:
        """Serve the page."""
        return make_html("play.html")

    async def describe(self, _request: web.Request) -> web.Response:
        """Serve the releases and the rating scale."""
        return await self._run(self._playground.describe)

    async def movies(self, _request: web.Request) -> web.Response:
        """Serve the movies of the current release."""
        return await self._run(self._playground.list_movies)

    async def recommend(self, request: web.Request) -> web.Response:
        """Serve a list of `recommend`."""
        return await self._run(lambda: self._playground.ask(_make_path("recommend", request)))

    async def similar(self, request: web.Request) -> web.Response:
        """Serve similar movies of `recommend`."""
        return await self._run(lambda: self._playground.ask(_make_path("similar", request)))

    async def compare(self, request: web.Request) -> web.Response:
        """Serve the list of one arm of a stored release."""
        release, arm = int(request.match_info["release"]), request.match_info["arm"]
        query = request.rel_url.raw_query_string
        return await self._run(lambda: self._playground.compare(release, arm, _read_id(request), query))

    async def user(self, request: web.Request) -> web.Response:
        """Serve a user's history."""
        return await self._run(lambda: self._playground.read_user(_read_id(request)))

    async def events(self, request: web.Request) -> web.Response:
        """Send events, which only pages of this machine may do."""
        origin = request.headers.get("Origin", "")
        if not is_local_host(urlsplit(origin).netloc) or request.content_type != "application/json":
            raise web.HTTPForbidden(reason="Only the page itself may send events")
        body = await request.read()
        return await self._run(lambda: self._playground.send(body))

    async def _run(self, work: Callable[[], Any]) -> web.Response:
        return await run_in_thread(self._threads, work, error_status=400, make_response=_make_response)


def _make_response(result: Any) -> web.Response:
    """Return the response for a document, or for the response of a function."""
    if not isinstance(result, HttpResponse):
        return make_json(result)
    if result.headers.get("content-type", "").startswith("application/json"):
        return web.Response(body=result.body, status=result.status, content_type="application/json")
    return make_json({"error": result.body.decode(errors="replace").strip()}, result.status)


def _make_path(endpoint: str, request: web.Request) -> str:
    """Return the path of `recommend` for the id and the query string of the request."""
    return f"/{endpoint}/{quote(_read_id(request), safe='')}?{request.rel_url.raw_query_string}"


def _read_id(request: web.Request) -> str:
    """Return the id of the path. Raises :class:`InvalidRequest` if it is none."""
    text = request.match_info["id"]
    if not is_valid_id(text):
        raise InvalidRequest(f"The id is {text!r}: it must be {VALID_ID}.")
    return text
