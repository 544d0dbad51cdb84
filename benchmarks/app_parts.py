"""App as a process with MongoDB and stubs of the services that it calls, for benchmarks of the app alone."""

from __future__ import annotations

import tempfile
import threading
import uuid
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import msgspec
from infra.bundle import MIN_TIME_S, build_wheel

from benchmarks.ingest_path import ROOT
from benchmarks.serving import Instance, scratch
from marquee.app.document_schema import prepare_documents
from marquee.app.documents import Documents
from marquee.local.embedded_mongo import EmbeddedMongo

MOVIES = tuple(f"the+movie+number+{number}+{1950 + number}" for number in range(60))
DEADLINE_MS = 20_000


class ServiceStub:
    """Stub of a movie service with :data:`MOVIES`, and of ``recommend``, whose list is the first twenty of them."""

    def __init__(self) -> None:
        self.users = 0
        stub = self

        class StubHandler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # Otherwise the body waits for the client's delayed acknowledgment of the headers, 40 ms.
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                body = msgspec.json.encode(stub.answer(unquote(self.path)))
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Log nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), StubHandler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    def answer(self, path: str) -> Any:
        if path == "/create_account":
            self.users += 1
            return {"user_id": 100_000_000 + self.users}
        if path.startswith("/movie/"):
            movies = [_describe_movie(movie_id) for movie_id in path.removeprefix("/movie/").split(",")]
            return movies if len(movies) > 1 else movies[0]
        if path.startswith(("/recommend/", "/similar/")):
            listed = [{"movie_id": movie_id, "rating": 4.0} for movie_id in MOVIES[:20]]
            return {"recommendation_id": str(uuid.uuid4()), "tier": "popular", "movies": listed}
        return {}

    def __enter__(self) -> ServiceStub:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _describe_movie(movie_id: str) -> dict[str, Any]:
    title, _, year = movie_id.rpartition("+")
    return {
        "id": movie_id,
        "title": title.replace("+", " ").title(),
        "genres": [{"id": 1, "name": "Drama"}],
        "release_date": f"{year}-01-01",
        "runtime": 100,
    }


@dataclass
class AppParts:
    """A MongoDB with the app's collections, and the services."""

    mongo: EmbeddedMongo
    documents: Documents
    service: ServiceStub

    def settings(self, movies_url: str = "") -> dict[str, str]:
        """Return the app's settings; ``movies_url`` replaces the stub of the movie service."""
        return {
            "MARQUEE_DOCUMENTS_URL": self.mongo.url,
            "MARQUEE_RECOMMEND_URL": self.service.url,
            "MARQUEE_MOVIES_URL": movies_url or self.service.url,
        }

    def restart_mongo(self) -> None:
        """Kill MongoDB, and start it again."""
        self.mongo.kill()
        self.mongo.start()

    @contextmanager
    def run_app(self, movies_url: str = "") -> Iterator[Instance]:
        """Run one instance of the app; ``movies_url`` replaces the stub of the movie service."""
        env = self.settings(movies_url) | {"PYTHONPATH": str(_unpack_wheel())}
        instance = Instance("app", ROOT / "functions/app/main.py", env)
        try:
            yield instance
        finally:
            instance.stop()


@cache
def _unpack_wheel() -> Path:
    """Return a directory with the library as it is installed, which has the templates compiled."""
    library = scratch() / "library"
    with tempfile.TemporaryDirectory() as work, zipfile.ZipFile(build_wheel(ROOT, Path(work), MIN_TIME_S)) as wheel:
        wheel.extractall(library)
    return library


@contextmanager
def run_parts() -> Iterator[AppParts]:
    """Start MongoDB and the services."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="marquee-bench-")))
        mongo = stack.enter_context(EmbeddedMongo(directory))
        documents = Documents(mongo.url, deadline_ms=DEADLINE_MS, pause_s=0)
        stack.callback(documents.close)
        prepare_documents(documents, 90)
        yield AppParts(mongo, documents, stack.enter_context(ServiceStub()))
