"""Which port a part gets: its usual one, or another if that is taken."""

from __future__ import annotations

from collections.abc import Callable

import psutil

from marquee.local.process import can_bind, free_port


class Ports:
    """Hands out ports of 127.0.0.1, each once. ``say`` is told when a usual one is taken, and by whom."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._given: set[int] = set()

    def choose(self, part: str, usual: int) -> int:
        """``usual`` if it is free, else the next that is."""
        port = next((p for p in range(usual, min(usual + 50, 65_536)) if self._free(p)), None) or free_port()
        if port != usual and usual not in self._given:
            self._say(f"port {usual} is taken{_owner(usual)}: {part} listens on {port}")
        self._given.add(port)
        return port

    def _free(self, port: int) -> bool:
        return port not in self._given and can_bind(port)


def _owner(port: int) -> str:
    """`` by <program> (process N)``, where the system lets us see it."""
    try:
        for connection in psutil.net_connections("tcp"):
            if connection.laddr and connection.laddr.port == port and connection.status == psutil.CONN_LISTEN:
                return f" by {psutil.Process(connection.pid).name()} (process {connection.pid})"
    except (psutil.Error, OSError):
        pass
    return ""
