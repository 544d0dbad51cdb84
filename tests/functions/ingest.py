"""The ``ingest`` function in a process of its own, and bodies of Pub/Sub pushes."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Mapping
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

from marquee.local.process import Process, free_port

ROOT = Path(__file__).parents[2]


class IngestProcess:
    """One instance of ``ingest``."""

    def __init__(self, log: Path, database_url: str, certs_url: str = "", **more: str) -> None:
        self.port = free_port()
        main = "tests/functions/ingest_with_issuer.py" if certs_url else "functions/ingest/main.py"
        source = str(ROOT / main)
        argv = [sys.executable, "-m", "functions_framework", "--source", source, "--target", "ingest"]
        env = {"MARQUEE_DATABASE_URL": database_url, "PYTHONPATH": str(ROOT / "shared")}
        env["TEST_CERTS_URL"] = certs_url
        env |= {f"MARQUEE_{name}": value for name, value in more.items()}
        where = ["--host", "127.0.0.1", "--port", str(self.port)]
        self.process = Process("ingest", argv + where, log, env)

    def start(self) -> None:
        self.process.start()
        self.process.wait_healthy(self._answers)

    def request(
        self, method: str, body: bytes = b"", headers: Mapping[str, str] | None = None, path: str = "/"
    ) -> tuple[int, str, dict[str, str]]:
        """Return status, text and headers of the response."""
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=30)) as connection:
            connection.request(method, path, body, dict(headers or {}))
            response = connection.getresponse()
            return response.status, response.read().decode(), dict(response.getheaders())

    def post(self, body: bytes, headers: Mapping[str, str] | None = None) -> int:
        return self.request("POST", body, headers)[0]

    def _answers(self) -> bool:
        try:
            return self.request("GET", path="/healthz")[0] == 200
        except OSError:
            return False


def make_push_body(data: bytes | None, attributes: Mapping[str, str] | None) -> bytes:
    """Return the body of a Pub/Sub push."""
    message: dict[str, object] = {"messageId": "1", "publishTime": "2026-02-14T00:00:00Z"}
    if data is not None:
        message["data"] = base64.b64encode(data).decode()
    if attributes is not None:
        message["attributes"] = dict(attributes)
    return json.dumps({"message": message, "subscription": "projects/p/subscriptions/s", "deliveryAttempt": 2}).encode()
