"""A webhook receiver that records posts and responds with given statuses."""

from __future__ import annotations

import json
import threading
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Webhook:
    """A webhook receiver.

    :attr:`statuses` has the statuses of the next posts, after which all are 200. :attr:`retry_after` is sent with 429.
    """

    def __init__(self) -> None:
        self.posted: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.statuses: deque[int] = deque()
        self.retry_after: str | None = None
        self.changed = threading.Condition()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self) -> str:
        """A URL in Slack's form, whose path is the secret."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/services/T000/B000/secret?x=1"

    def wait_for(self, count: int, timeout_s: float = 60) -> list[dict[str, Any]]:
        """Wait for ``count`` posts and return all."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.posted) >= count, timeout_s), self.posted
            return list(self.posted)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _handler(webhook: Webhook) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.headers["Content-Type"] == "application/json"
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with webhook.changed:
                status = webhook.statuses.popleft() if webhook.statuses else 200
                webhook.posted.append(body)
                webhook.paths.append(self.path)
                webhook.changed.notify_all()
            self.send_response(status)
            if status == 429 and webhook.retry_after:
                self.send_header("Retry-After", webhook.retry_after)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Print nothing."""

    return Handler
