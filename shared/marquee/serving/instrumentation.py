"""HTTP handler with a structured request log and Prometheus metrics."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from marquee.config.request_wait import LoadShedder
from marquee.errors import CallRefused
from marquee.serving.caller_check import CallerCheck, refuse
from marquee.serving.http_api import RECOMMEND, SIMILAR, RecommendHttp, Reply
from marquee.serving.prometheus_text import CONTENT_TYPE, Metrics
from marquee.serving.request_log import RequestLog
from marquee.serving.trace_context import parse_trace

log = logging.getLogger(__name__)

METRICS = "/metrics"
OVERLOADED = Reply(
    503,
    b"More requests arrive than can be answered in time. Try again later.\n",
    headers={"Retry-After": "1", "Cache-Control": "no-store"},
)


class InstrumentedApp:
    """Wraps ``http`` with a request log, metrics and a Server-Timing header.

    ``requests`` is None where requests are not logged. ``gauges`` and ``counters`` return metrics of other parts; each
    ``GET /metrics`` calls them. Requests for recommendations that have waited for more than ``max_wait_ms`` are refused
    while others are being answered; 0 refuses none. ``callers`` is None where everyone may read.
    """

    def __init__(
        self,
        http: RecommendHttp,
        requests: RequestLog | None = None,
        gauges: Callable[[], Mapping[str, float]] = dict,
        counters: Callable[[], Mapping[str, float]] = dict,
        max_wait_ms: int = 0,
        callers: CallerCheck | None = None,
    ) -> None:
        self.http = http
        self._callers = callers
        self.metrics = Metrics()
        self._requests = requests
        self._gauges, self._counters = gauges, counters
        self._shedder = LoadShedder(max_wait_ms)

    def reply(self, method: str, path: str, environ: Mapping[str, Any]) -> Reply:
        """Answer one request. ``path`` is decoded and has no query string; ``environ`` is WSGI's."""
        if path == METRICS and method in ("GET", "HEAD"):
            return Reply(200, self.metrics.format(self._gauges(), self._read_counters()), CONTENT_TYPE)
        started = time.perf_counter()
        endpoint = RECOMMEND if path.startswith(RECOMMEND) else SIMILAR if path.startswith(SIMILAR) else ""
        if not endpoint:  # Health checks are frequent and concern no user.
            from marquee.serving.contract_files import find_contract

            return find_contract(method, path) or self._reply(method, path, environ)
        with self._shedder.admit(environ) as admitted:
            if not admitted:
                self.metrics.record(OVERLOADED.status, 0.0, None)
                return OVERLOADED
            reply = self._reply(method, path, environ)
        seconds = time.perf_counter() - started
        self.metrics.record(reply.status, seconds, reply.answer)
        if self._requests is not None:
            message = f"{method[:20]} {endpoint} {reply.status}"
            self._requests.write(message, reply.status, seconds, reply.answer, parse_trace(environ))
        return _add_server_timing(reply, seconds)

    def _read_counters(self) -> Mapping[str, float]:
        return {**self._counters(), "requests_shed_total": self._shedder.shed}

    def _reply(self, method: str, path: str, environ: Mapping[str, Any]) -> Reply:
        try:
            http = self._callers.choose(path, environ) if self._callers else self.http
            return http.reply(method, path, environ.get("HTTP_ACCEPT", ""), environ.get("QUERY_STRING", ""))
        except CallRefused as error:
            return refuse(error)
        except Exception:  # A bug: the caller gets a response, and the log a traceback.
            log.exception("%s %s failed", method, path[:80])
            return Reply(500, b"Internal error; the details are in the log.\n")


def _add_server_timing(reply: Reply, seconds: float) -> Reply:
    """Add a Server-Timing header, with durations in milliseconds."""
    steps = reply.answer.seconds if reply.answer is not None else {}
    timings = ", ".join([f"{step};dur={duration * 1000:.3f}" for step, duration in steps.items()])
    total = f"total;dur={seconds * 1000:.3f}"
    reply.headers["Server-Timing"] = f"{timings}, {total}" if timings else total
    return reply
