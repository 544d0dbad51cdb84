"""The choice of a port for each part: its default port, or another one if that is in use."""

from __future__ import annotations

from collections.abc import Callable

import psutil

from marquee.local.port_holds import hold_port, release_port
from marquee.local.process import free_port


class Ports:
    """Ports of 127.0.0.1 that no other system of this user gets before :meth:`release`.

    ``notify`` is called with a sentence if a default port is in use; it names the program that has the port.
    """

    def __init__(self, notify: Callable[[str], None]) -> None:
        self._notify = notify
        self._assigned: set[int] = set()

    def choose(self, part: str, default: int) -> int:
        """Return ``default`` if it is free, else the next free port."""
        candidates = range(default, min(default + 50, 65_536))
        port = next((p for p in candidates if hold_port(p)), None) or free_port()
        if port != default and default not in self._assigned:
            self._notify(f"port {default} is in use{_describe_owner(default)}: {part} listens on {port}")
        self._assigned.add(port)
        return port

    def release(self) -> None:
        """Let other systems have the ports. A runner that is killed releases them, too."""
        while self._assigned:
            release_port(self._assigned.pop())


def _describe_owner(port: int) -> str:
    """Return `` by <program> (process N)``, or an empty text if the system does not show it."""
    try:
        for connection in psutil.net_connections("tcp"):
            if connection.laddr and connection.laddr.port == port and connection.status == psutil.CONN_LISTEN:
                return f" by {psutil.Process(connection.pid).name()} (process {connection.pid})"
    except (psutil.Error, OSError):
        pass
    return ""
