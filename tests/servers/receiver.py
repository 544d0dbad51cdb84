"""An HTTP receiver of CloudEvents that accepts, refuses, hangs or answers slowly, as a test decides."""

from __future__ import annotations

import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from marquee.errors import InvalidBatch
from marquee.events.batches import Record, StreamBatch
from marquee.events.envelopes import Envelope, from_http, open_envelope


class Receiver:
    """A receiver that stores what it accepts, in order; it listens from its construction on.

    ``answers`` are the statuses of the next requests, followed by 204; ``always`` is the status of all
    requests. An answer waits for the event ``hold`` after the envelope is stored; the event is cleared when
    ``hold_after`` envelopes were accepted.
    """

    def __init__(self, port: int = 0) -> None:
        self.accepted: list[Envelope] = []
        self.refused: list[Envelope | InvalidBatch] = []
        self.answers: deque[int] = deque()
        self.always: int | None = None
        self.delay_s = 0.0
        self.hold = threading.Event()
        self.hold.set()
        self.hold_after: int | None = None
        self.lose_answers = 0
        self.connections = 0
        self.paths: list[str] = []
        self.in_flight = 0
        self.max_in_flight = 0
        self.changed = threading.Condition()
        self._server = _Server(("127.0.0.1", port), _Handler)
        self._server.receiver = self
        self._server.open = set()
        self.port: int = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self) -> str:
        """The address of the receiver."""
        return f"http://127.0.0.1:{self.port}/"

    def close(self) -> None:
        """Stop listening."""
        self.hold.set()
        self._server.shutdown()
        self._server.server_close()

    def drop_connections(self) -> None:
        """Close the clients' connections, as an idle timeout does."""
        with self.changed:
            for connection in self._server.open:
                connection.shutdown(socket.SHUT_RDWR)

    def records(self) -> dict[tuple[str, str, int], list[Record]]:
        """Return the accepted records by topic, topic id and partition, in order of arrival."""
        records: dict[tuple[str, str, int], list[Record]] = {}
        with self.changed:
            envelopes = list(self.accepted)
        for envelope in envelopes:
            batch = open_envelope(envelope)
            assert isinstance(batch, StreamBatch)
            records.setdefault((batch.topic, batch.topic_id, batch.partition), []).extend(batch.records)
        return records

    def texts(self) -> list[str]:
        """Return the texts of the accepted records, in order of arrival."""
        return [record.text or "" for records in self.records().values() for record in records]

    def wait_for(self, condition: Callable[[], bool], timeout_s: float = 60.0) -> None:
        """Wait until ``condition()`` holds, which requests can change; fail the test after ``timeout_s``."""
        deadline = time.monotonic() + timeout_s
        with self.changed:
            while not condition():
                assert time.monotonic() < deadline, f"waited {timeout_s:g} s without success"
                self.changed.wait(0.1)

    def _receive(self, handler: BaseHTTPRequestHandler, body: bytes) -> int | None:
        with self.changed:
            status = self.always or (self.answers.popleft() if self.answers else 204)
            lost = self.lose_answers > 0
            self.lose_answers -= lost
        time.sleep(self.delay_s)
        try:
            envelope: Envelope | InvalidBatch = from_http(dict(handler.headers), body)
        except InvalidBatch as error:
            envelope = error
            status = 400
        with self.changed:
            if status < 300 and isinstance(envelope, Envelope):
                if len(self.accepted) == self.hold_after:
                    self.hold.clear()
                    self.hold_after = None
                self.accepted.append(envelope)
            else:
                self.refused.append(envelope)
            self.changed.notify_all()
        self.hold.wait()
        return None if lost else status


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    receiver: Receiver
    open: set[socket.socket]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def setup(self) -> None:
        super().setup()
        with self.server.receiver.changed:
            self.server.receiver.connections += 1
            self.server.open.add(self.connection)

    def finish(self) -> None:
        with self.server.receiver.changed:
            self.server.open.discard(self.connection)
        super().finish()

    def do_POST(self) -> None:
        receiver = self.server.receiver
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        with receiver.changed:
            receiver.paths.append(self.path)
            receiver.in_flight += 1
            receiver.max_in_flight = max(receiver.max_in_flight, receiver.in_flight)
        status = receiver._receive(self, body)
        with receiver.changed:
            receiver.in_flight -= 1
        if status is None:
            self.close_connection = True
            return
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""
