"""A worker of gunicorn that a slow client cannot hold: requests have a time limit to arrive."""

from __future__ import annotations

import socket
import time
from typing import Any

from gunicorn.workers.gthread import ThreadWorker

HEADER_S = 10.0
"""Seconds from the first byte of a request to the end of its headers."""
BODY_S = 60.0
"""Seconds from the end of the headers to the end of the answer, for a request with a body."""


class DeadlineWorker(ThreadWorker):  # type: ignore[misc]
    """Threaded worker that closes the connection of a request that does not arrive in time.

    gunicorn itself waits without limit once a first byte arrived, so that as many clients as there are threads, each
    with half a request, would keep all others out.
    """

    header_s, body_s = HEADER_S, BODY_S

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._deadlines: dict[Any, float] = {}

    def handle(self, conn: Any) -> Any:
        """Handle one request in a thread."""
        self._deadlines[conn] = time.monotonic() + self.header_s
        try:
            return super().handle(conn)
        finally:
            self._deadlines.pop(conn, None)

    def handle_request(self, req: Any, conn: Any) -> Any:
        """Answer a request whose headers are complete."""
        # A request without a body may take any time: `monitor` works for minutes.
        for name, text in req.headers:
            if name == "TRANSFER-ENCODING" or (name == "CONTENT-LENGTH" and text != "0"):
                self._deadlines[conn] = time.monotonic() + self.body_s
                break
        else:
            self._deadlines.pop(conn, None)
        return super().handle_request(req, conn)

    def notify(self) -> None:
        """Close late connections; the main thread calls this at least once a second."""
        super().notify()
        now = time.monotonic()
        for conn, deadline in list(self._deadlines.items()):
            if deadline < now:
                try:
                    conn.sock.shutdown(socket.SHUT_RDWR)  # Its thread reads the end of the stream.
                except OSError:
                    pass  # It ended meanwhile.
