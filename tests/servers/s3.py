"""A server of S3 with conditional writes: moto's. Objects are in memory."""

from __future__ import annotations

import sys
import urllib.request
from pathlib import Path

from marquee.local.process import Process, free_port, port_open


class S3Server:
    """Server on a free port of 127.0.0.1; ``directory`` holds its log."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> S3Server:
        argv = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]
        self._process = Process("moto_server", argv, self._directory / "s3.log")
        self._process.start()
        self._process.wait_healthy(lambda: port_open(self.port))
        return self

    def __exit__(self, *_: object) -> None:
        self._process.stop()

    def make_bucket(self, name: str) -> None:
        """Create an empty bucket."""
        request = urllib.request.Request(f"{self.url}/{name}", b"", method="PUT")
        urllib.request.urlopen(request, timeout=10).close()
