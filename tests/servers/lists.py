"""A stand-in for ``recommend`` that answers with known lists, for tests of the app alone."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import unquote, urlsplit

from tests.servers.http_thread import HttpThread


class ListServer(HttpThread):
    """An HTTP server of the lists of ``movie_ids``; :attr:`requests` are the paths with queries that were asked."""

    def __init__(self, movie_ids: Sequence[str], port: int = 0) -> None:
        self.movie_ids = list(movie_ids)
        self.requests: list[str] = []
        self.recommendation_ids: list[str] = []
        self.status, self.tier = 200, "popular"
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                server.requests.append(self.path)
                body = json.dumps(server.answer(self.path)).encode()
                self.send_response(server.status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None: ...

        super().__init__(Handler, port)

    def answer(self, path: str) -> dict[str, Any]:
        """Return the document of a path: twenty movies, each because of the movie after it."""
        parts = urlsplit(path)
        if parts.path.startswith("/similar/"):
            return {"movies": [{"movie_id": movie_id} for movie_id in self.movie_ids[20:30]]}
        recommendation_id = str(uuid.uuid4())
        self.recommendation_ids.append(recommendation_id)
        movies: list[dict[str, Any]] = [
            {"movie_id": movie_id, "score": 1.0, "rating": 4.2, "propensity": 0.9} for movie_id in self.movie_ids[:20]
        ]
        if "explain=1" in parts.query:
            movies[0]["reason"] = {"source": "score", "because": [{"movie_id": self.movie_ids[50], "share": 0.7}]}
        user_id = unquote(parts.path.rpartition("/")[2])
        return {"recommendation_id": recommendation_id, "user_id": user_id, "tier": self.tier, "movies": movies}
