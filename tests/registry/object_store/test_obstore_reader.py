"""Tests of the read-only store: the same contract, on the wire, and no writes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.registry.conftest import CLOUD_SCHEMES, StoreLocation
from tests.servers.proxy import CUT, Answer, Proxy

from marquee.errors import ObjectNotFound, ObjectStoreError, ObjectStoreUnavailable
from marquee.local.process import free_port
from marquee.registry.object_store.connect import connect
from marquee.registry.object_store.object_store import ObjectStore

pytestmark = pytest.mark.servers


@pytest.fixture(params=CLOUD_SCHEMES)
def location(request: pytest.FixtureRequest, cloud_location: Callable[[str], StoreLocation]) -> StoreLocation:
    return cloud_location(request.param)


def connect_reader(location: StoreLocation, timeout_s: float = 20.0) -> ObjectStore:
    return connect(location.url, timeout_s=timeout_s, read_only=True)


def test_reader_reads_what_a_writer_wrote(location: StoreLocation) -> None:
    """By name, by prefix, and conditionally."""
    writer, reading = location.connect(), connect_reader(location)
    version = writer.put_new("models/1/a.npy", bytes(range(256)))
    writer.put_new("models/10/b", b"b")
    found = reading.get("models/1/a.npy")
    assert found.data == bytes(range(256))
    assert reading.get("models/1/a.npy", if_changed_from=found.version) is None
    writer.replace("models/1/a.npy", b"new", version)
    changed = reading.get("models/1/a.npy", if_changed_from=found.version)
    assert changed is not None
    assert changed.data == b"new"
    assert list(reading.list("models/1/")) == ["models/1/a.npy"]
    assert list(reading.list("models/1")) == ["models/1/a.npy", "models/10/b"]


@pytest.mark.parametrize(
    ("start", "length", "expected"),
    [(0, 4, b"0123"), (8, 100, b"89"), (9, 1, b"9"), (10, 1, b""), (2**62, 5, b""), (4, 0, b"")],
)
def test_reader_range_returns_what_exists(location: StoreLocation, start: int, length: int, expected: bytes) -> None:
    """Less at the end, nothing past it."""
    location.connect().put_new("a", b"0123456789")
    assert connect_reader(location).read_range("a", start, length) == expected


def test_reader_range_of_empty_object_is_empty(location: StoreLocation) -> None:
    """Any range."""
    location.connect().put_new("a", b"")
    assert connect_reader(location).read_range("a", 0, 10) == b""


def test_reader_missing_object_raises(location: StoreLocation) -> None:
    """A listing is empty."""
    with pytest.raises(ObjectNotFound, match="'nope'"):
        connect_reader(location).get("nope")
    with pytest.raises(ObjectNotFound):
        connect_reader(location).read_range("nope", 0, 1)
    assert list(connect_reader(location).list("")) == []


def test_reader_writes_are_refused(location: StoreLocation) -> None:
    """The error says what to do instead."""
    location.connect().put_new("a", b"1")
    reading = connect_reader(location)
    for write in (
        lambda: reading.put_new("b", b""),
        lambda: reading.replace("a", b"2", None),
        lambda: reading.delete("a"),
    ):
        with pytest.raises(ObjectStoreError, match="without read_only"):
            write()
    assert list(reading.list("")) == ["a"]


def test_reader_without_listener_is_unavailable(
    location: StoreLocation, cloud_environment: Callable[[str, str], None]
) -> None:
    """The error is transient."""
    cloud_environment(location.scheme, f"http://127.0.0.1:{free_port()}")
    with pytest.raises(ObjectStoreUnavailable, match="cannot be reached"):
        connect_reader(location, timeout_s=0.3).get("a")


@pytest.mark.parametrize("fault", [CUT, Answer(503)])
def test_reader_transient_error_is_retried(
    location: StoreLocation, cloud_environment: Callable[[str, str], None], fault: Answer | str
) -> None:
    """A broken connection or an overloaded store."""
    location.connect().put_new("a", b"1")
    with Proxy(location.server_url) as proxy:
        cloud_environment(location.scheme, proxy.url)
        left = [fault]
        proxy.fault = lambda request: left.pop() if left else None
        assert connect_reader(location).get("a").data == b"1"
        assert left == []


@pytest.mark.parametrize("status", [401, 403])
def test_reader_refused_access_names_the_permission(
    location: StoreLocation, cloud_environment: Callable[[str, str], None], status: int
) -> None:
    """For 401 and 403."""
    with Proxy(location.server_url) as proxy:
        cloud_environment(location.scheme, proxy.url)
        proxy.fault = lambda request: Answer(status)
        with pytest.raises(ObjectStoreError, match=r"needs (roles/storage.objectViewer|s3:GetObject)"):
            connect_reader(location, timeout_s=1.0).get("a")
