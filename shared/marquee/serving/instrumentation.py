"""Each request is answered, and then said of: a line in the log, a count in the metrics."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from marquee.serving.http_api import RECOMMEND, RecommendHttp, Reply
from marquee.serving.prometheus_text import CONTENT_TYPE, Metrics
from marquee.serving.request_log import RequestLog
from marquee.serving.trace_context import parse_trace

log = logging.getLogger(__name__)

METRICS = "/metrics"


class InstrumentedApp:
    """``http`` with eyes on it. ``requests`` is None where requests are not logged.

    ``gauges`` and ``counters``: numbers that are kept elsewhere, asked for at each ``GET /metrics``.
    """

    def __init__(
        self,
        http: RecommendHttp,
        requests: RequestLog | None = None,
        gauges: Callable[[], Mapping[str, float]] = dict,
        counters: Callable[[], Mapping[str, float]] = dict,
    ) -> None:
        self.http = http
        self.metrics = Metrics()
        self._requests = requests
        self._gauges, self._counters = gauges, counters

    def reply(self, method: str, path: str, environ: Mapping[str, Any]) -> Reply:
        """Answer one request; ``path`` is decoded and without its query, ``environ`` is WSGI's."""
        if path == METRICS and method in ("GET", "HEAD"):
            return Reply(200, self.metrics.text(self._gauges(), self._counters()), CONTENT_TYPE)
        started = time.perf_counter()
        try:
            reply = self.http.reply(method, path, environ.get("HTTP_ACCEPT", ""))
        except Exception:  # A mistake of ours; the caller is owed an answer, and we the trace.
            log.exception("%s %s failed", method, path[:80])
            reply = Reply(500, b"Something is wrong here, and was logged.\n")
        if not path.startswith(RECOMMEND):
            return reply  # Whoever asks after our health asks often, and says nothing of users.
        seconds = time.perf_counter() - started
        self.metrics.count(reply.status, seconds, reply.answer)
        if self._requests is not None:
            message = f"{method[:20]} {RECOMMEND} {reply.status}"
            self._requests.wrote(message, reply.status, seconds, reply.answer, parse_trace(environ))
        return _timed(reply, seconds)


def _timed(reply: Reply, seconds: float) -> Reply:
    """With a Server-Timing header: milliseconds, as the header has them."""
    steps = reply.answer.seconds if reply.answer is not None else {}
    said = ", ".join([f"{step};dur={took * 1000:.3f}" for step, took in steps.items()])
    total = f"total;dur={seconds * 1000:.3f}"
    reply.headers["Server-Timing"] = f"{said}, {total}" if said else total
    return reply
