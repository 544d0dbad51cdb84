"""A small real HTTP server that answers as ``recommend`` does, or as badly as a test asks it to."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import NamedTuple
from urllib.parse import unquote


class Answer(NamedTuple):
    """What to answer, and after how long."""

    status: int
    text: str
    delay_s: float = 0.0


class RecommenderServer:
    """Serves ``answer(user_id)`` on a free port of 127.0.0.1; ``asked`` holds the user ids in order."""

    def __init__(self, answer: Callable[[str], Answer]) -> None:
        self.asked: list[str] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                user_id = unquote(self.path.removeprefix("/recommend/"))
                server.asked.append(user_id)
                given = answer(user_id)
                time.sleep(given.delay_s)
                body = given.text.encode()
                try:
                    self.send_response(given.status)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)
                except ConnectionError:
                    pass  # The caller gave up: what a late answer is for.

            def log_message(self, *args: object) -> None: ...

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02})

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_port}"

    def __enter__(self) -> RecommenderServer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()
