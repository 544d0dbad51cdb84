"""Between the bridge and the function: a proxy that answers wrongly, late, or brings things twice."""

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

KEPT = 50


class Trick(StrEnum):
    """What is done to one delivery."""

    ANSWER_500 = "answers 500"
    LOSE_ANSWER = "answer lost after the commit"
    LATE_ANSWER = "answer after the bridge gave up"
    LATE_DELIVERY = "delivered after the bridge gave up"
    TWICE = "delivered twice at once"
    PART = "part of it delivered too"
    OLD = "an old one delivered again"


@dataclass(frozen=True)
class _Request:
    path: str
    headers: Mapping[str, str]
    body: bytes


class Mischief:
    """Listens on ``url``; hands everything to the function on ``port``, but for the tricks that are asked for."""

    def __init__(self, port: int, patience_s: float, chance: random.Random) -> None:
        self._function_port = port
        self._late_s = patience_s + 0.5
        self._chance = chance
        self._lock = threading.Lock()
        self._tricks: deque[Trick] = deque()
        self._passed: deque[_Request] = deque(maxlen=KEPT)
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.mischief = self
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/"
        self._late: list[threading.Thread] = []
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def plan(self, *tricks: Trick) -> None:
        """Play these on the next deliveries, one each."""
        with self._lock:
            self._tricks.extend(tricks)

    def close(self) -> None:
        """Play no more, and wait for what is still late."""
        with self._lock:
            self._tricks.clear()
        for thread in self._late:
            thread.join()
        self._server.shutdown()
        self._server.server_close()

    def rest(self) -> None:
        """Play no more, and let through what is still late."""
        with self._lock:
            self._tricks.clear()
        for thread in self._late:
            thread.join()

    def handle(self, request: _Request) -> int | None:
        """The status to answer with, or None to break the connection."""
        with self._lock:
            trick = self._tricks.popleft() if self._tricks else None
            self._passed.append(request)
            old = self._chance.choice(self._passed)
        if trick == Trick.ANSWER_500:
            return 500
        if trick == Trick.LATE_DELIVERY:
            self._in_background(request, self._late_s)
            return None
        if trick in (Trick.TWICE, Trick.OLD, Trick.PART):
            extra = {Trick.TWICE: request, Trick.OLD: old}.get(trick) or self._part(old)
            self._in_background(extra, 0.0)
        status = self._forward(request)
        if trick == Trick.LATE_ANSWER:
            time.sleep(self._late_s)
        return None if trick == Trick.LOSE_ANSWER else status

    def _part(self, request: _Request) -> _Request:
        """A delivery of some of its records: another sender may have cut the batches elsewhere."""
        batch = msgspec.json.decode(request.body)
        records = batch["records"]
        first = self._chance.randrange(len(records))
        last = self._chance.randrange(first, len(records))
        batch["records"] = records[first : last + 1]
        batch.pop("since", None)  # A part is not all that Kafka holds.
        return _Request(request.path, request.headers, msgspec.json.encode(batch))

    def _in_background(self, request: _Request, delay_s: float) -> None:
        def deliver() -> None:
            time.sleep(delay_s)
            self._forward(request)

        thread = threading.Thread(target=deliver, daemon=True)
        self._late = [known for known in self._late if known.is_alive()] + [thread]
        thread.start()

    def _forward(self, request: _Request) -> int | None:
        connection = http.client.HTTPConnection("127.0.0.1", self._function_port, timeout=30)
        try:
            connection.request("POST", request.path, request.body, dict(request.headers))
            answer = connection.getresponse()
            answer.read()
            return answer.status
        except (OSError, http.client.HTTPException):
            return None  # The function is away; so, as far as the bridge can see, are we.
        finally:
            connection.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    mischief: Mischief


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        unwanted = ("host", "connection", "content-length")
        headers = {name: value for name, value in self.headers.items() if name.lower() not in unwanted}
        status = self.server.mischief.handle(_Request(self.path, headers, body))
        if status is None:
            self.close_connection = True
            return
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Silent."""

    def handle(self) -> None:
        try:
            super().handle()
        except ConnectionError:  # The bridge gave up, or was killed.
            pass
