"""A server of S3 with conditional writes: moto's. Objects are in memory."""

from __future__ import annotations

import sys
import urllib.request

from tests.servers.store_server import StoreServer


class S3Server(StoreServer):
    """Server of moto."""

    def command(self) -> list[str]:
        """Return the command of moto's server."""
        return [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]

    def make_bucket(self, name: str) -> None:
        """Create an empty bucket."""
        request = urllib.request.Request(f"{self.url}/{name}", b"", method="PUT")
        urllib.request.urlopen(request, timeout=10).close()
