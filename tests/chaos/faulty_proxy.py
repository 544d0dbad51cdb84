"""A proxy between bridge and function that answers wrongly or late, or delivers twice."""

from __future__ import annotations

import http.client
import random
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import msgspec

MAX_REMEMBERED = 50


class DeliveryFault(StrEnum):
    """A fault of one delivery."""

    ANSWER_500 = "answers 500"
    LOSE_ANSWER = "answer lost after the commit"
    LATE_ANSWER = "answer after the bridge timed out"
    LATE_DELIVERY = "delivered after the bridge timed out"
    TWICE = "delivered twice at once"
    PART = "part of it delivered too"
    OLD = "an old one delivered again"


@dataclass(frozen=True)
class _Request:
    path: str
    headers: Mapping[str, str]
    body: bytes


class FaultyProxy:
    """A proxy at ``url`` that forwards deliveries to the function on ``port``, except for planned faults."""

    def __init__(self, port: int, timeout_s: float, rng: random.Random) -> None:
        self._function_port = port
        self._late_s = timeout_s + 0.5
        self._rng = rng
        self._lock = threading.Lock()
        self._faults: deque[DeliveryFault] = deque()
        self._seen: deque[_Request] = deque(maxlen=MAX_REMEMBERED)
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.proxy = self
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/"
        self._late: list[threading.Thread] = []
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def plan(self, *faults: DeliveryFault) -> None:
        """Apply these faults to the next deliveries, one each."""
        with self._lock:
            self._faults.extend(faults)

    def close(self) -> None:
        """Apply no more faults, wait for late deliveries, and stop."""
        with self._lock:
            self._faults.clear()
        for thread in self._late:
            thread.join()
        self._server.shutdown()
        self._server.server_close()

    def stop_faults(self) -> None:
        """Apply no more faults, and wait for late deliveries."""
        with self._lock:
            self._faults.clear()
        for thread in self._late:
            thread.join()

    def handle(self, request: _Request) -> int | None:
        """Return the status to answer with, or None to break the connection."""
        with self._lock:
            fault = self._faults.popleft() if self._faults else None
            self._seen.append(request)
            old = self._rng.choice(self._seen)
        if fault == DeliveryFault.ANSWER_500:
            return 500
        if fault == DeliveryFault.LATE_DELIVERY:
            self._in_background(request, self._late_s)
            return None
        if fault in (DeliveryFault.TWICE, DeliveryFault.OLD, DeliveryFault.PART):
            extra = {DeliveryFault.TWICE: request, DeliveryFault.OLD: old}.get(fault) or self._take_part(old)
            self._in_background(extra, 0.0)
        status = self._forward(request)
        if fault == DeliveryFault.LATE_ANSWER:
            time.sleep(self._late_s)
        return None if fault == DeliveryFault.LOSE_ANSWER else status

    def _take_part(self, request: _Request) -> _Request:
        """Return a delivery of some of its records: another sender may form batches differently."""
        batch = msgspec.json.decode(request.body)
        records = batch["records"]
        first = self._rng.randrange(len(records))
        last = self._rng.randrange(first, len(records))
        batch["records"] = records[first : last + 1]
        batch.pop("since", None)  # A part does not cover all that Kafka holds.
        return _Request(request.path, request.headers, msgspec.json.encode(batch))

    def _in_background(self, request: _Request, delay_s: float) -> None:
        def deliver() -> None:
            time.sleep(delay_s)
            self._forward(request)

        thread = threading.Thread(target=deliver, daemon=True)
        self._late = [running for running in self._late if running.is_alive()] + [thread]
        thread.start()

    def _forward(self, request: _Request) -> int | None:
        connection = http.client.HTTPConnection("127.0.0.1", self._function_port, timeout=30)
        try:
            connection.request("POST", request.path, request.body, dict(request.headers))
            answer = connection.getresponse()
            answer.read()
            return answer.status
        except (OSError, http.client.HTTPException):
            return None  # The function is unavailable, so the proxy breaks the connection too.
        finally:
            connection.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    proxy: FaultyProxy


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        hop_by_hop = ("host", "connection", "content-length")
        headers = {name: value for name, value in self.headers.items() if name.lower() not in hop_by_hop}
        status = self.server.proxy.handle(_Request(self.path, headers, body))
        if status is None:
            self.close_connection = True
            return
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""

    def handle(self) -> None:
        try:
            super().handle()
        except ConnectionError:  # The bridge timed out or was killed.
            pass
