"""The identity of the app at Google Cloud, from a metadata server of the test."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from marquee.app.service_identity import ServiceIdentity, create_identity
from marquee.errors import RequestFailed


class Metadata:
    """A metadata server whose tokens end at :attr:`ends`."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str]] = []
        self.ends, self.status = 2_000.0, 200
        metadata = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                metadata.requests.append((self.path, self.headers.get("Metadata-Flavor", "")))
                claims = base64.urlsafe_b64encode(json.dumps({"exp": metadata.ends}).encode()).rstrip(b"=")
                self.send_response(metadata.status)
                self.end_headers()
                self.wfile.write(b"head." + claims + b".signature\n")

            def log_message(self, *_: Any) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self.server.server_address[1]}"


@pytest.fixture
def metadata() -> Iterator[Metadata]:
    """Serve a metadata server."""
    served = Metadata()
    thread = threading.Thread(target=served.server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield served
    served.server.shutdown()
    served.server.server_close()
    thread.join()


def test_identity_token_is_kept_until_shortly_before_its_end(metadata: Metadata) -> None:
    """One request serves many calls; the token names the audience, and is renewed five minutes early."""
    now = 1_000.0
    identity = ServiceIdentity(f"http://{metadata.host}", "https://recommend.example", lambda: now)
    first = identity.headers()["Authorization"]
    now = 1_699.0
    assert identity.headers()["Authorization"] == first
    assert len(metadata.requests) == 1
    path, flavor = metadata.requests[0]
    assert path.endswith("audience=https%3A%2F%2Frecommend.example")
    assert flavor == "Google"
    now, metadata.ends = 1_701.0, 5_000.0
    assert identity.headers()["Authorization"] != first


def test_identity_error_of_the_metadata_server_is_a_failed_request(metadata: Metadata) -> None:
    """The list is then missing from the page; no request is sent without a token."""
    metadata.status = 500
    with pytest.raises(RequestFailed, match="500"):
        ServiceIdentity(f"http://{metadata.host}", "https://recommend.example").headers()


def test_identity_exists_on_cloud_run_only(metadata: Metadata) -> None:
    """Elsewhere there is no metadata server to wait for."""
    assert create_identity("https://x.example", {}) is None
    identity = create_identity("https://x.example", {"K_SERVICE": "app", "GCE_METADATA_HOST": metadata.host})
    assert identity is not None
    assert identity.headers()["Authorization"].startswith("Bearer head.")
