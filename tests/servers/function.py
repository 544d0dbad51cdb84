"""A function as deployed: a process of functions-framework, and a client for it."""

from __future__ import annotations

import http.client
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from marquee.local.process import Process, free_port, port_open

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Reply:
    """A response."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def movies(self) -> list[str]:
        return self.body.decode().split(",")

    @property
    def document(self) -> dict[str, object]:
        return msgspec.json.decode(self.body, type=dict[str, object])

    @property
    def notes(self) -> str:
        return self.headers.get("Marquee-Notes", "")


class Function:
    """``functions/<name>`` on a free port, with the settings in ``env`` only."""

    def __init__(self, name: str, directory: Path, env: Mapping[str, str]) -> None:
        self.port = free_port()
        self.log = directory / f"{name}-{self.port}.log"
        argv = [sys.executable, "-m", "functions_framework"]
        argv += ["--source", str(ROOT / "functions" / name / "main.py"), "--target", name]
        argv += ["--host", "127.0.0.1", "--port", str(self.port)]
        self.process = Process(
            name, argv, self.log, {"PYTHONPATH": str(ROOT / "shared"), "WORKERS": "1", "THREADS": "8", **env}
        )

    def __enter__(self) -> Function:
        self.process.start()
        self.process.wait_healthy(lambda: port_open(self.port))
        return self

    def __exit__(self, *_: object) -> None:
        self.process.stop()

    def get(self, path: str, method: str = "GET", body: bytes | Iterator[bytes] | None = None, **headers: str) -> Reply:
        """Send one request over a new connection, an iterator as a chunked body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return Reply(answer.status, dict(answer.getheaders()), answer.read())
        finally:
            connection.close()
