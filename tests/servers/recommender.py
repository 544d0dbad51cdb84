"""A small real HTTP server in place of ``recommend``."""

from __future__ import annotations

import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import NamedTuple
from urllib.parse import unquote

from tests.servers.http_thread import HttpThread


class StubResponse(NamedTuple):
    """A response, and the time before it is sent."""

    status: int
    text: str
    delay_s: float = 0.0


class RecommenderServer(HttpThread):
    """A server of ``respond(user_id)`` on a free port; :attr:`user_ids` has the requests in order."""

    def __init__(self, respond: Callable[[str], StubResponse]) -> None:
        self.user_ids: list[str] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                user_id = unquote(self.path.removeprefix("/recommend/"))
                server.user_ids.append(user_id)
                response = respond(user_id)
                time.sleep(response.delay_s)
                body = response.text.encode()
                try:
                    self.send_response(response.status)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)
                except ConnectionError:
                    pass  # The client's time limit has passed.

            def log_message(self, *_: object) -> None: ...

        super().__init__(Handler)
