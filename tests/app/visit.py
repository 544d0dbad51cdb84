"""The app and its parts, and a visitor of it without a browser."""

from __future__ import annotations

import json
import re
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

from tests.servers.function import Function, Reply
from tests.servers.lists import ListServer
from tests.servers.movie_service import MovieServer

from marquee.app.documents import Documents


class App(NamedTuple):
    """The running app and what it uses."""

    function: Function
    movies: MovieServer
    lists: ListServer
    documents: Documents

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.function.port}"

    def count(self, collection: str, **query: Any) -> int:
        return self.documents.database[collection].count_documents(query)


class Visit:
    """A visitor with the cookie of one device, and without JavaScript."""

    def __init__(self, app: App, *, consent: bool | None = None) -> None:
        self._app = app
        self.cookie = ""
        self.user_id = ""
        self.session = str(uuid.uuid4())
        self.seq = 0
        if consent is not None:
            self.open("/you")
            assert self.post("/you/consent", analytics=int(consent)).status == 303

    def open(self, path: str, **headers: str) -> Reply:
        """Get a page, and keep a new cookie."""
        reply = self._app.function.get(path, "GET", None, **self._headers(headers))
        self._keep(reply)
        if found := re.search(rb'data-user="(\d+)"', reply.body):
            self.user_id = found[1].decode()
        return reply

    def post(self, path: str, *, site: str = "same-origin", **form: object) -> Reply:
        """Send a form as a page of the app does."""
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Site": site}
        reply = self._app.function.get(path, "POST", urlencode(form).encode(), **self._headers(headers))
        self._keep(reply)
        return reply

    def send(self, *events: dict[str, Any], sent: datetime | None = None, app: str = "browser") -> Reply:
        """Send a batch of events."""
        body = json.dumps({"sent": (sent or datetime.now(UTC)).isoformat(), "app": app, "events": events})
        headers = {"Content-Type": "application/json", "Sec-Fetch-Site": "same-origin"}
        return self._app.function.get("/api/events", "POST", body.encode(), **self._headers(headers))

    def event(self, name: str = "screen_viewed", ago_s: float = 0, **values: Any) -> dict[str, Any]:
        """Return the next event of the session."""
        self.seq += 1
        at = (datetime.now(UTC) - timedelta(seconds=ago_s)).isoformat()
        known = {"id": str(uuid.uuid4()), "session": self.session, "seq": self.seq, "name": name, "at": at}
        return {**known, "screen": "home", **values}

    def _headers(self, headers: dict[str, str]) -> dict[str, str]:
        return headers | ({"Cookie": self.cookie} if self.cookie else {})

    def _keep(self, reply: Reply) -> None:
        if cookie := reply.headers.get("Set-Cookie"):
            self.cookie = cookie.split(";")[0]


def movie_path(movie_id: str, rest: str = "") -> str:
    """Return the path of a movie's screen or action."""
    return f"/movie/{quote(movie_id, safe='')}{rest}"
