"""What Compose's emulators are given before the parts start."""

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
    """Takes each document once; a second time it is there already."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.made: dict[str, Any] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Emulator

    def do_PUT(self) -> None:
        document = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        again = self.path in self.server.made
        self.server.made.setdefault(self.path, document)
        self.send_response(409 if again else 200)
        self.end_headers()

    do_POST = do_PUT

    def log_message(self, *_: Any) -> None:
        """Nothing: the test's output is its own."""


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator() as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def test_everything_is_made_once(emulator: Emulator) -> None:
    """A second start finds it all there, and goes on."""
    for _ in range(2):
        prepare(emulator.url, emulator.url, "http://ingest:8080/")
    assert set(emulator.made) == {
        "/storage/v1/b?project=marquee",
        "/v1/projects/marquee/topics/marquee-events",
        "/v1/projects/marquee/topics/marquee-dead-letters",
        "/v1/projects/marquee/subscriptions/marquee-ingest",
        "/v1/projects/marquee/subscriptions/marquee-dead-letters",
    }
    pushed = emulator.made["/v1/projects/marquee/subscriptions/marquee-ingest"]
    assert pushed["pushConfig"] == {"pushEndpoint": "http://ingest:8080/"}


def test_delivery_is_as_in_the_cloud() -> None:
    """Back-off and dead letters have the numbers of infra/terraform/pubsub.tf."""
    cloud = (TERRAFORM / "pubsub.tf").read_text()
    ours = subscription("http://ingest:8080/")
    assert re.findall(r'm\w+imum_backoff\s*= "(\w+)"', cloud) == list(ours["retryPolicy"].values())
    assert str(ours["deadLetterPolicy"]["maxDeliveryAttempts"]) in re.findall(
        r"max_delivery_attempts = (\d+)", cloud
    )


@pytest.mark.servers
def test_the_real_storage_emulator_takes_the_bucket(emulator: Emulator, tmp_path: Path) -> None:
    """fake-gcs-server makes it, finds it the second time, and answers on the path of its health check."""
    with GcsServer(tmp_path) as objects:
        for _ in range(2):
            prepare(emulator.url, objects.url, "http://ingest:8080/")
        (check,) = re.findall(
            r"127\.0\.0\.1:4443(/\S+?)\"", (TERRAFORM.parents[1] / "compose.yaml").read_text()
        )
        assert urlopen(objects.url + check, timeout=10).status == 200
        assert urlopen(f"{objects.url}/storage/v1/b/marquee", timeout=10).status == 200
