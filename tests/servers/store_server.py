"""Base of the servers of object stores, each one process on a free port of 127.0.0.1."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from marquee.local.process import Process, free_port, port_open


class StoreServer:
    """Server that :meth:`command` starts; ``directory`` holds its log, and its objects if they are on disk."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._process = Process(type(self).__name__, self.command(), self.directory / "server.log")
        self._process.start()
        self._process.wait_healthy(lambda: port_open(self.port))
        return self

    def __exit__(self, *_: object) -> None:
        self._process.stop()

    def command(self) -> list[str]:
        """Return the command that serves on :attr:`port`."""
        raise NotImplementedError
