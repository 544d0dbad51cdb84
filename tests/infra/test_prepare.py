"""Preparation of Compose's emulators."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.request import urlopen

import pytest
from infra.compose.prepare import prepare, subscription
from tests.servers.gcs import GcsServer

TERRAFORM = Path(__file__).parents[2] / "infra/terraform"


class Emulator(ThreadingHTTPServer):
    """An emulator that answers 409 to a document that exists."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.documents: dict[str, Any] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Emulator

    def do_PUT(self) -> None:
        document = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        exists = self.path in self.server.documents
        self.server.documents.setdefault(self.path, document)
        self.send_response(409 if exists else 200)
        self.end_headers()

    do_POST = do_PUT  # noqa: N815

    def log_message(self, *_: Any) -> None:
        """Log nothing."""


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator() as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def test_prepare_twice_creates_everything_once(emulator: Emulator) -> None:
    """A second start keeps what exists."""
    for _ in range(2):
        prepare(emulator.url, emulator.url, "http://ingest:8080/")
    assert set(emulator.documents) == {
        "/storage/v1/b?project=marquee",
        "/v1/projects/marquee/topics/marquee-events",
        "/v1/projects/marquee/topics/marquee-dead-letters",
        "/v1/projects/marquee/subscriptions/marquee-ingest",
        "/v1/projects/marquee/subscriptions/marquee-dead-letters",
    }
    pushed = emulator.documents["/v1/projects/marquee/subscriptions/marquee-ingest"]
    assert pushed["pushConfig"] == {"pushEndpoint": "http://ingest:8080/"}


def test_subscription_matches_terraform() -> None:
    """Back-off and attempts are those of infra/terraform/pubsub.tf."""
    cloud = (TERRAFORM / "pubsub.tf").read_text()
    ours = subscription("http://ingest:8080/")
    assert re.findall(r'm\w+imum_backoff\s*= "(\w+)"', cloud) == list(ours["retryPolicy"].values())
    assert str(ours["deadLetterPolicy"]["maxDeliveryAttempts"]) in re.findall(
        r"max_delivery_attempts = (\d+)", cloud
    )


@pytest.mark.servers
def test_prepare_storage_emulator_has_bucket(emulator: Emulator, tmp_path: Path) -> None:
    """fake-gcs-server creates the bucket once and answers on the path of its health check."""
    with GcsServer(tmp_path) as objects:
        for _ in range(2):
            prepare(emulator.url, objects.url, "http://ingest:8080/")
        (check,) = re.findall(
            r"127\.0\.0\.1:4443(/\S+?)\"", (TERRAFORM.parents[1] / "compose.yaml").read_text()
        )
        assert urlopen(objects.url + check, timeout=10).status == 200
        assert urlopen(f"{objects.url}/storage/v1/b/marquee", timeout=10).status == 200
