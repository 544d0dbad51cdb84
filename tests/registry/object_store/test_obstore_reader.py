"""Reading from the clouds without their own clients: the same contract, on the wire, and no writes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.registry.conftest import CLOUDS, Place
from tests.servers.proxy import CUT, Answer, Proxy

from marquee.errors import ObjectNotFound, ObjectStoreError, ObjectStoreUnavailable
from marquee.local.process import free_port
from marquee.registry.object_store.connect import connect
from marquee.registry.object_store.object_store import ObjectStore

pytestmark = pytest.mark.servers


@pytest.fixture(params=CLOUDS)
def place(request: pytest.FixtureRequest, cloud_place: Callable[[str], Place]) -> Place:
    return cloud_place(request.param)


def reader(place: Place, timeout_s: float = 20.0) -> ObjectStore:
    return connect(place.url, timeout_s=timeout_s, read_only=True)


def test_what_others_wrote_is_read(place: Place) -> None:
    """Whole, by name, by prefix, and as long as it has not changed only once."""
    writer, reading = place.connect(), reader(place)
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
def test_ranges(place: Place, start: int, length: int, expected: bytes) -> None:
    place.connect().put_new("a", b"0123456789")
    assert reader(place).read_range("a", start, length) == expected


def test_ranges_of_an_empty_object(place: Place) -> None:
    place.connect().put_new("a", b"")
    assert reader(place).read_range("a", 0, 10) == b""


def test_what_is_not_there(place: Place) -> None:
    with pytest.raises(ObjectNotFound, match="'nope'"):
        reader(place).get("nope")
    with pytest.raises(ObjectNotFound):
        reader(place).read_range("nope", 0, 1)
    assert list(reader(place).list("")) == []


def test_writes_are_refused(place: Place) -> None:
    """And say what to do instead."""
    place.connect().put_new("a", b"1")
    reading = reader(place)
    for write in (
        lambda: reading.put_new("b", b""),
        lambda: reading.replace("a", b"2", None),
        lambda: reading.delete("a"),
    ):
        with pytest.raises(ObjectStoreError, match="without read_only"):
            write()
    assert list(reading.list("")) == ["a"]


def test_a_store_that_is_away_may_come_back(
    place: Place, cloud_environment: Callable[[str, str], None]
) -> None:
    cloud_environment(place.scheme, f"http://127.0.0.1:{free_port()}")
    with pytest.raises(ObjectStoreUnavailable, match="cannot be reached"):
        reader(place, timeout_s=0.3).get("a")


@pytest.mark.parametrize("fault", [CUT, Answer(503)])
def test_a_fault_that_passes_is_not_noticed(
    place: Place, cloud_environment: Callable[[str, str], None], fault: Answer | str
) -> None:
    """A broken connection or an overloaded store: the call is repeated."""
    place.connect().put_new("a", b"1")
    with Proxy(place.server_url) as proxy:
        cloud_environment(place.scheme, proxy.url)
        left = [fault]
        proxy.fault = lambda request: left.pop() if left else None
        assert reader(place).get("a").data == b"1"
        assert left == []


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_names_the_rights(
    place: Place, cloud_environment: Callable[[str, str], None], status: int
) -> None:
    with Proxy(place.server_url) as proxy:
        cloud_environment(place.scheme, proxy.url)
        proxy.fault = lambda request: Answer(status)
        with pytest.raises(ObjectStoreError, match=r"needs (roles/storage.objectViewer|s3:GetObject)"):
            reader(place, timeout_s=1.0).get("a")
