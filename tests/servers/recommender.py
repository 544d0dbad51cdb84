"""A small real HTTP server in place of ``recommend``."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import NamedTuple
from urllib.parse import unquote


class StubResponse(NamedTuple):
    """A response, and the time before it is sent."""

    status: int
    text: str
    delay_s: float = 0.0


class RecommenderServer:
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
