"""Refusal of requests that have waited so long that their answer would come too late.

Beyond its capacity a server that answers in the order of arrival answers everything too late. Requests that have waited
for most of the caller's time-out are therefore refused immediately, which costs a fraction of an answer, and the others
are answered in time. The kernel knows how long a request has waited: the time since the last bytes arrived on its
connection includes the server's own queues and needs no clock but its own.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Mapping
from typing import Any

# tcpi_last_data_recv of struct tcp_info: 8 bytes and 11 numbers of 4 bytes precede it.
_LAST_DATA_RECEIVED = struct.Struct("=I")
_OFFSET = 8 + 11 * 4


class LoadShedder:
    """Admits recommendations by the time that they have waited; 0 for ``max_wait_ms`` admits all.

    A request is refused only while another one is being answered. A process that was frozen, or that is starting,
    answers what waits for it, although late.
    """

    def __init__(self, max_wait_ms: int) -> None:
        self._max_wait_ms = max_wait_ms
        self._lock = threading.Lock()
        self._admitted = 0
        self.shed = 0

    def admit(self, environ: Mapping[str, Any]) -> Admission:
        """Return a context that provides whether the request may be answered, and counts it as such until its end."""
        late = bool(self._max_wait_ms) and measure_wait_ms(environ) > self._max_wait_ms
        with self._lock:
            admitted = not (late and self._admitted)
            if admitted:
                self._admitted += 1
            else:
                self.shed += 1
        return Admission(self, admitted)

    def release(self) -> None:
        """Count one admitted request as answered."""
        with self._lock:
            self._admitted -= 1


class Admission:
    """Context of one request. A generator would take three times as long."""

    __slots__ = ("_admitted", "_shedder")

    def __init__(self, shedder: LoadShedder, admitted: bool) -> None:
        self._shedder, self._admitted = shedder, admitted

    def __enter__(self) -> bool:
        """Return whether the request may be answered."""
        return self._admitted

    def __exit__(self, *_: object) -> None:
        """End the request."""
        if self._admitted:
            self._shedder.release()


def measure_wait_ms(environ: Mapping[str, Any]) -> int:
    """Return the milliseconds since the request's last bytes arrived; 0 if it is unknown."""
    connection = environ.get("gunicorn.socket")
    if connection is None:
        return 0
    try:
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _OFFSET + _LAST_DATA_RECEIVED.size)
        return int(_LAST_DATA_RECEIVED.unpack_from(info, _OFFSET)[0])
    except (AttributeError, OSError, struct.error):  # Not Linux, or not TCP.
        return 0
