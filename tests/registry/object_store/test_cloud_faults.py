"""Tests of the cloud stores without credentials, bucket or network, and with lost responses."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.registry.conftest import CLOUD_SCHEMES, StoreLocation
from tests.servers.proxy import CUT, LOST, Answer, Fault, Proxy, Request

from marquee.errors import ObjectNotFound, ObjectStoreError, ObjectStoreUnavailable, PreconditionFailed
from marquee.local.process import free_port
from marquee.registry.object_store.connect import connect
from marquee.registry.object_store.object_store import ObjectStore, Version
from marquee.registry.object_store.s3_store import S3Store

pytestmark = pytest.mark.servers


@pytest.fixture(params=CLOUD_SCHEMES)
def scheme(request: pytest.FixtureRequest) -> str:
    scheme: str = request.param
    return scheme


@pytest.fixture
def location(scheme: str, cloud_location: Callable[[str], StoreLocation]) -> StoreLocation:
    return cloud_location(scheme)


@pytest.fixture
def proxy(location: StoreLocation, cloud_environment: Callable[[str, str], None]) -> Iterator[Proxy]:
    """A proxy between the client and the server of ``location``."""
    with Proxy(location.server_url) as proxy:
        cloud_environment(location.scheme, proxy.url)
        yield proxy


def _fail_once(fault: Answer | str, method: str) -> Fault:
    """Return a fault that meets the first request of a method, and no other."""
    left = [fault]
    return lambda request: left.pop() if left and request.method in method.split() else None


def _calls(store: ObjectStore) -> list[Callable[[], object]]:
    return [
        lambda: store.get("a"),
        lambda: store.get("a", if_changed_from=Version("1")),
        lambda: store.read_range("a", 0, 1),
        lambda: store.put_new("a", b""),
        lambda: store.replace("a", b"", Version("1")),
        lambda: list(store.list("")),
        lambda: store.delete("a"),
    ]


def test_cloud_store_without_credentials_says_how_to_set_them(
    scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error says that there are none and how to provide them."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL", "STORAGE_EMULATOR_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "")
    advice = {"gs": "gcloud auth application-default login", "s3": "AWS_ACCESS_KEY_ID"}
    with pytest.raises(ObjectStoreError, match=advice[scheme]):
        connect(f"{scheme}://bucket").get("a")


def test_gcs_missing_key_file_is_a_terminal_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A retry cannot fix a wrong path to the credentials."""
    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "key.json"))
    with pytest.raises(ObjectStoreError, match="GOOGLE_APPLICATION_CREDENTIALS"):
        connect("gs://bucket").get("a")


def test_cloud_store_missing_bucket_is_named(location: StoreLocation) -> None:
    """For every call the error names the bucket."""
    for call in _calls(connect(f"{location.scheme}://no-such-bucket/x")):
        with pytest.raises(ObjectStoreError, match=f"no bucket {location.scheme}://no-such-bucket"):
            call()


def test_cloud_store_without_listener_is_unavailable(
    scheme: str, cloud_environment: Callable[[str, str], None]
) -> None:
    """Every call ends by itself, with a transient error."""
    cloud_environment(scheme, f"http://127.0.0.1:{free_port()}")
    for call in _calls(connect(f"{scheme}://bucket", timeout_s=0.3)):
        with pytest.raises(ObjectStoreUnavailable, match=f"{scheme}://bucket"):
            call()


def test_cloud_store_hanging_server_is_unavailable(location: StoreLocation, proxy: Proxy) -> None:
    """A call does not wait for ever for a response."""

    def slow(_: Request) -> None:
        time.sleep(1.5)

    proxy.fault = slow
    with pytest.raises(ObjectStoreUnavailable):
        location.connect(timeout_s=0.3).get("a")


def test_cloud_store_401_is_about_the_credentials(location: StoreLocation, proxy: Proxy) -> None:
    """The error is terminal."""
    proxy.fault = lambda request: Answer(401)
    # Not the reads: google-auth leaves their connection open when an anonymous client gets a 401.
    for call in _calls(location.connect())[3:]:
        with pytest.raises(ObjectStoreError, match=r"needs credentials|refuses access"):
            call()


def test_cloud_store_403_names_the_missing_permission(location: StoreLocation, proxy: Proxy) -> None:
    """The error says what was refused and what the account needs; there is no retry."""
    proxy.fault = lambda request: Answer(403)
    for call in _calls(location.connect()):
        proxy.requests.clear()
        with pytest.raises(ObjectStoreError, match=r"refuses access.*the account needs"):
            call()
        assert len(proxy.requests) == 1


@pytest.mark.parametrize("status", [429, 500, 503])
def test_cloud_store_transient_error_is_retried(location: StoreLocation, proxy: Proxy, status: int) -> None:
    """A store that is busy for a moment is called again."""
    store = location.connect()
    proxy.fault = _fail_once(Answer(status), "PUT POST")
    version = store.put_new("a", b"1")
    for call in (
        lambda: store.get("a").data,
        lambda: store.read_range("a", 0, 1),
        lambda: next(store.list("")),
    ):
        proxy.fault = _fail_once(Answer(status), "GET")
        assert call() in (b"1", "a")
    proxy.fault = _fail_once(Answer(status), "PUT POST")
    store.replace("a", b"2", version)
    proxy.fault = _fail_once(Answer(status), "DELETE")
    store.delete("a")


def test_cloud_store_lasting_error_is_unavailable(location: StoreLocation, proxy: Proxy) -> None:
    """The retries end in time, with a transient error."""
    proxy.fault = lambda request: Answer(503)
    for call in _calls(location.connect(timeout_s=0.3)):
        with pytest.raises(ObjectStoreUnavailable, match="503"):
            call()


def test_write_lost_response_succeeds(location: StoreLocation, proxy: Proxy) -> None:
    """A conditional write that arrived is not refused because it was sent again."""
    store = location.connect()
    proxy.fault = _fail_once(LOST, "PUT POST")
    version = store.put_new("a", b"1")
    assert store.get("a").version == version
    proxy.fault = _fail_once(LOST, "PUT POST")
    version = store.replace("a", b"2", version)
    assert (store.get("a").data, store.get("a").version) == (b"2", version)


def test_write_file_lost_response_succeeds(location: StoreLocation, proxy: Proxy, tmp_path: Path) -> None:
    """The same holds for a file, whose content is compared in chunks."""
    (tmp_path / "file").write_bytes(b"0123456789" * 1000)
    store = location.connect()
    proxy.fault = _fail_once(LOST, "PUT POST")
    version = store.put_new("a", tmp_path / "file")
    assert store.get("a").version == version


def test_write_failed_attempt_and_concurrent_write_is_refused(location: StoreLocation, proxy: Proxy) -> None:
    """A retried write is refused if the object is another writer's."""
    other, store = connect(location.url), location.connect()

    def another_writes_first(request: Request) -> Answer | None:
        if request.method in ("PUT", "POST") and b"mine" in request.body and not written:
            written.append(other.put_new("a", b"another's"))
            return Answer(503)
        return None

    written: list[Version] = []
    proxy.fault = another_writes_first
    with pytest.raises(PreconditionFailed):
        store.put_new("a", b"mine")
    assert store.get("a").data == b"another's"


def test_delete_lost_response_succeeds(location: StoreLocation, proxy: Proxy) -> None:
    """Deleting is idempotent."""
    store = location.connect()
    store.put_new("a", b"1")
    proxy.fault = _fail_once(LOST, "DELETE")
    store.delete("a")
    with pytest.raises(ObjectNotFound):
        store.get("a")


def test_conditional_calls_send_their_condition(location: StoreLocation, proxy: Proxy) -> None:
    """The store decides, not the client."""
    store = location.connect()
    version = store.put_new("a", b"1")
    second = store.replace("a", b"2", version)
    store.get("a", if_changed_from=second)
    put, swap, read = proxy.requests
    if location.scheme == "gs":
        assert "ifGenerationMatch=0" in put.path
        assert f"ifGenerationMatch={version}" in swap.path
        assert f"ifGenerationNotMatch={second}" in read.path
    else:
        assert put.headers["If-None-Match"] == "*"
        assert swap.headers["If-Match"] == version
        assert read.headers["If-None-Match"] == second


def test_get_304_returns_none(location: StoreLocation, proxy: Proxy) -> None:
    """The response has no body."""
    store = location.connect()
    version = store.put_new("a", b"1")
    proxy.fault = lambda request: Answer(304)
    assert store.get("a", if_changed_from=version) is None


def test_gcs_resumable_upload_sends_its_condition(
    cloud_location: Callable[[str], StoreLocation], cloud_environment: Callable[[str, str], None]
) -> None:
    """fake-gcs-server ignores the precondition of a long upload; Google does not, and receives it."""
    location = cloud_location("gs")
    with Proxy(location.server_url) as proxy:
        cloud_environment("gs", proxy.url)
        location.connect().put_new("large", bytes(9_000_000))
    assert "uploadType=resumable" in proxy.requests[0].path
    assert "ifGenerationMatch=0" in proxy.requests[0].path


def test_s3_multipart_upload_is_conditional(
    cloud_location: Callable[[str], StoreLocation],
    cloud_environment: Callable[[str, str], None],
    tmp_path: Path,
) -> None:
    """A file that is sent in parts is written once, and the parts of a refused upload are deleted."""
    location = cloud_location("s3")
    (tmp_path / "file").write_bytes(data := bytes(range(256)) * 50_000)
    with Proxy(location.server_url) as proxy:
        cloud_environment("s3", proxy.url)
        store = S3Store(location.url.split("/")[2], part_bytes=5 << 20)
        version = store.put_new("large", tmp_path / "file")
        assert (store.get("large").data, store.get("large").version) == (data, version)
        with pytest.raises(PreconditionFailed):
            store.put_new("large", tmp_path / "file")
        assert [r.method for r in proxy.requests].count("DELETE") == 1
        lost = [LOST]
        proxy.fault = lambda r: lost.pop() if lost and r.method == "POST" and "uploads" not in r.path else None
        assert store.put_new("again", tmp_path / "file") == store.get("again").version


def test_get_broken_connection_is_retried(location: StoreLocation, proxy: Proxy) -> None:
    """The connection breaks before or within the response; an incomplete body is never returned."""
    store = location.connect()
    store.put_new("a", bytes(range(256)))
    for fault in (LOST, CUT):
        proxy.fault = _fail_once(fault, "GET")
        assert store.get("a").data == bytes(range(256))
        proxy.fault = _fail_once(fault, "GET")
        assert store.read_range("a", 100, 100) == bytes(range(100, 200))
