"""Preparation of Compose's emulators."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any
from urllib.request import urlopen

import pytest
from infra.compose.prepare import prepare, prepare_repeatedly, subscription
from tests.servers.gcs import GcsServer
from tests.support.waiting import wait_until

TERRAFORM = Path(__file__).parents[2] / "infra/terraform"


class Emulator(ThreadingHTTPServer):
    """An emulator that answers 409 to a document that exists."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.documents: dict[str, Any] = {}
        self.status: int | None = None
        self.requests = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Emulator

    def do_PUT(self) -> None:
        document = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests += 1
        if self.server.status:
            self.send_error(self.server.status)
            return
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


def test_prepare_proxy_in_the_environment_is_not_asked(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Docker passes the proxy of its configuration to containers; the emulators are beside them."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    prepare(emulator.url, emulator.url, "http://ingest:8080/")
    assert len(emulator.documents) == 5


@contextmanager
def prepared_repeatedly(url: str, health: Path) -> Iterator[None]:
    """Run the loop in a thread, every 20 ms."""
    stop = Event()
    thread = Thread(target=prepare_repeatedly, args=(url, url, url, 0.02, stop, health), daemon=True)
    thread.start()
    yield
    stop.set()
    thread.join(10)
    assert not thread.is_alive()


def test_prepare_repeatedly_restores_what_an_emulator_forgot(emulator: Emulator, tmp_path: Path) -> None:
    """The Pub/Sub emulator, restarted alone, knows no topic; within one interval they exist again."""
    health = tmp_path / "prepared"
    with prepared_repeatedly(emulator.url, health):
        wait_until(lambda: len(emulator.documents) == 5 and health.exists())
        emulator.documents.clear()
        wait_until(lambda: len(emulator.documents) == 5)


def test_prepare_repeatedly_emulator_away_is_not_healthy(emulator: Emulator, tmp_path: Path) -> None:
    """An error ends nothing, and does not touch the health file."""
    health = tmp_path / "prepared"
    emulator.status = 500
    with prepared_repeatedly(emulator.url, health):
        wait_until(lambda: emulator.requests >= 2)
        assert not health.exists()
        emulator.status = None
        wait_until(health.exists)


def test_subscription_matches_terraform() -> None:
    """Back-off and attempts are those of infra/terraform/pubsub.tf."""
    cloud = (TERRAFORM / "pubsub.tf").read_text()
    ours = subscription("http://ingest:8080/")
    assert re.findall(r'm\w+imum_backoff\s*= "(\w+)"', cloud) == list(ours["retryPolicy"].values())
    assert str(ours["deadLetterPolicy"]["maxDeliveryAttempts"]) in re.findall(r"max_delivery_attempts = (\d+)", cloud)


@pytest.mark.servers
def test_prepare_storage_emulator_has_bucket(emulator: Emulator, tmp_path: Path) -> None:
    """fake-gcs-server creates the bucket once and answers on the path of its health check."""
    with GcsServer(tmp_path) as objects:
        for _ in range(2):
            prepare(emulator.url, objects.url, "http://ingest:8080/")
        (check,) = re.findall(r"127\.0\.0\.1:4443(/\S+?)\"", (TERRAFORM.parents[1] / "compose.yaml").read_text())
        assert urlopen(objects.url + check, timeout=10).status == 200
        assert urlopen(f"{objects.url}/storage/v1/b/marquee", timeout=10).status == 200
