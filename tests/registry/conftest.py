"""Fixtures: three kinds of object store, each real and on the wire."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.servers.gcs import GcsServer
from tests.servers.s3 import S3Server

from marquee.registry.object_store.connect import connect
from marquee.registry.object_store.object_store import ObjectStore

CLOUD_SCHEMES = ("gs", "s3")
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def gcs_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GcsServer]:
    with GcsServer(tmp_path_factory.mktemp("gcs")) as server:
        yield server


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with S3Server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@dataclass(frozen=True)
class StoreLocation:
    """Place where objects can be kept; every ``connect`` gives a client of its own."""

    url: str
    server_url: str = ""

    @property
    def scheme(self) -> str:
        return self.url.partition(":")[0]

    def connect(self, timeout_s: float = 20.0) -> ObjectStore:
        return connect(self.url, timeout_s=timeout_s)


@pytest.fixture
def cloud_environment(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Return a function that sets the variables of the client libraries: a server's address and credentials."""

    def set_environment(scheme: str, server_url: str) -> None:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST" if scheme == "gs" else "AWS_ENDPOINT_URL", server_url)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "GOOGLE_APPLICATION_CREDENTIALS"):
            monkeypatch.delenv(name, raising=False)

    return set_environment


@pytest.fixture
def cloud_location(
    request: pytest.FixtureRequest, cloud_environment: Callable[[str, str], None]
) -> Callable[[str], StoreLocation]:
    """Return a function that creates an empty location of a scheme, ``gs`` or ``s3``, in a bucket of its own."""

    def make(scheme: str) -> StoreLocation:
        server = request.getfixturevalue("gcs_server" if scheme == "gs" else "s3_server")
        bucket = f"bucket-{next(_numbers)}"
        server.make_bucket(bucket)
        cloud_environment(scheme, server.url)
        return StoreLocation(f"{scheme}://{bucket}/below/here", server.url)

    return make


@pytest.fixture(
    params=["file", *(pytest.param(s, marks=pytest.mark.servers) for s in CLOUD_SCHEMES)],
)
def location(request: pytest.FixtureRequest, tmp_path: Path) -> StoreLocation:
    """An empty location of each kind in turn."""
    if request.param == "file":
        return StoreLocation((tmp_path / "objects").as_uri())
    make: Callable[[str], StoreLocation] = request.getfixturevalue("cloud_location")
    return make(request.param)


@pytest.fixture
def store(location: StoreLocation) -> ObjectStore:
    return location.connect()


@pytest.fixture
def file_store(tmp_path: Path) -> ObjectStore:
    return connect((tmp_path / "objects").as_uri())
