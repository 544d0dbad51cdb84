"""What a cloud store does when credentials, bucket, network or an answer is missing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.registry.conftest import CLOUDS, Place
from tests.servers.proxy import CUT, LOST, Answer, Fault, Proxy, Request

from marquee.errors import ObjectNotFound, ObjectStoreError, ObjectStoreUnavailable, PreconditionFailed
from marquee.local.process import free_port
from marquee.registry.object_store.connect import connect
from marquee.registry.object_store.object_store import ObjectStore, Version
from marquee.registry.object_store.s3_store import S3Store

pytestmark = pytest.mark.servers


@pytest.fixture(params=CLOUDS)
def scheme(request: pytest.FixtureRequest) -> str:
    scheme: str = request.param
    return scheme


@pytest.fixture
def place(scheme: str, cloud_place: Callable[[str], Place]) -> Place:
    return cloud_place(scheme)


@pytest.fixture
def proxy(place: Place, cloud_environment: Callable[[str, str], None]) -> Iterator[Proxy]:
    """Stands between the client and the server of ``place``."""
    with Proxy(place.server_url) as proxy:
        cloud_environment(place.scheme, proxy.url)
        yield proxy


def _first(fault: Answer | str, method: str) -> Fault:
    """The fault meets the first request of a method, and no other."""
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


def test_credentials_missing(scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says that there are none and how to give them."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL", "STORAGE_EMULATOR_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "")
    advice = {"gs": "gcloud auth application-default login", "s3": "AWS_ACCESS_KEY_ID"}
    with pytest.raises(ObjectStoreError, match=advice[scheme]):
        connect(f"{scheme}://bucket").get("a")


def test_a_key_file_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong path to the credentials is an error that trying again cannot mend."""
    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "key.json"))
    with pytest.raises(ObjectStoreError, match="GOOGLE_APPLICATION_CREDENTIALS"):
        connect("gs://bucket").get("a")


def test_bucket_missing(place: Place) -> None:
    """Whatever is asked of a bucket that does not exist, the error names the bucket."""
    for call in _calls(connect(f"{place.scheme}://no-such-bucket/x")):
        with pytest.raises(ObjectStoreError, match=f"no bucket {place.scheme}://no-such-bucket"):
            call()


def test_nobody_listens(scheme: str, cloud_environment: Callable[[str, str], None]) -> None:
    """Every call ends by itself, with an error that says trying again may help."""
    cloud_environment(scheme, f"http://127.0.0.1:{free_port()}")
    for call in _calls(connect(f"{scheme}://bucket", timeout_s=0.3)):
        with pytest.raises(ObjectStoreUnavailable, match=f"{scheme}://bucket"):
            call()


def test_a_server_that_never_answers(place: Place, proxy: Proxy) -> None:
    """A call does not wait for ever for an answer that does not come."""

    def slow(_: Request) -> None:
        time.sleep(1.5)

    proxy.fault = slow
    with pytest.raises(ObjectStoreUnavailable):
        place.connect(timeout_s=0.3).get("a")


def test_an_anonymous_client_is_turned_away(place: Place, proxy: Proxy) -> None:
    """A 401 is about the credentials."""
    proxy.fault = lambda request: Answer(401)
    # Not the reads: google-auth leaves their connection open when an anonymous client gets a 401.
    for call in _calls(place.connect())[3:]:
        with pytest.raises(ObjectStoreError, match=r"needs credentials|refuses access"):
            call()


def test_permission_denied(place: Place, proxy: Proxy) -> None:
    """The error says what was refused, and what the account needs; it is not tried again."""
    proxy.fault = lambda request: Answer(403)
    for call in _calls(place.connect()):
        proxy.requests.clear()
        with pytest.raises(ObjectStoreError, match=r"refuses access.*the account needs"):
            call()
        assert len(proxy.requests) == 1


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_passing_fault_is_not_noticed(place: Place, proxy: Proxy, status: int) -> None:
    """A store that is busy for a moment is asked again."""
    store = place.connect()
    proxy.fault = _first(Answer(status), "PUT POST")
    version = store.put_new("a", b"1")
    for call in (
        lambda: store.get("a").data,
        lambda: store.read_range("a", 0, 1),
        lambda: next(store.list("")),
    ):
        proxy.fault = _first(Answer(status), "GET")
        assert call() in (b"1", "a")
    proxy.fault = _first(Answer(status), "PUT POST")
    store.replace("a", b"2", version)
    proxy.fault = _first(Answer(status), "DELETE")
    store.delete("a")


def test_a_lasting_fault_is_reported(place: Place, proxy: Proxy) -> None:
    """A store that stays busy is given up in time, as something that may pass."""
    proxy.fault = lambda request: Answer(503)
    for call in _calls(place.connect(timeout_s=0.3)):
        with pytest.raises(ObjectStoreUnavailable, match="503"):
            call()


def test_a_write_whose_answer_was_lost(place: Place, proxy: Proxy) -> None:
    """A conditional write that arrived is not refused because it had to be sent again."""
    store = place.connect()
    proxy.fault = _first(LOST, "PUT POST")
    version = store.put_new("a", b"1")
    assert store.get("a").version == version
    proxy.fault = _first(LOST, "PUT POST")
    version = store.replace("a", b"2", version)
    assert (store.get("a").data, store.get("a").version) == (b"2", version)


def test_a_file_whose_answer_was_lost(place: Place, proxy: Proxy, tmp_path: Path) -> None:
    """The same holds for a file, whose content is compared in pieces."""
    (tmp_path / "file").write_bytes(b"0123456789" * 1000)
    store = place.connect()
    proxy.fault = _first(LOST, "PUT POST")
    version = store.put_new("a", tmp_path / "file")
    assert store.get("a").version == version


def test_a_write_that_failed_while_another_won(place: Place, proxy: Proxy) -> None:
    """A write that is sent again is refused if what is there is another's."""
    other, store = connect(place.url), place.connect()

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


def test_a_delete_whose_answer_was_lost(place: Place, proxy: Proxy) -> None:
    """Deleting twice is deleting."""
    store = place.connect()
    store.put_new("a", b"1")
    proxy.fault = _first(LOST, "DELETE")
    store.delete("a")
    with pytest.raises(ObjectNotFound):
        store.get("a")


def test_the_conditions_are_on_the_wire(place: Place, proxy: Proxy) -> None:
    """The store decides, not we: each conditional call carries its condition."""
    store = place.connect()
    version = store.put_new("a", b"1")
    second = store.replace("a", b"2", version)
    store.get("a", if_changed_from=second)
    put, swap, read = proxy.requests
    if place.scheme == "gs":
        assert "ifGenerationMatch=0" in put.path
        assert f"ifGenerationMatch={version}" in swap.path
        assert f"ifGenerationNotMatch={second}" in read.path
    else:
        assert put.headers["If-None-Match"] == "*"
        assert swap.headers["If-Match"] == version
        assert read.headers["If-None-Match"] == second


def test_unchanged_comes_without_the_body(place: Place, proxy: Proxy) -> None:
    """A 304 is taken as the answer that it is."""
    store = place.connect()
    version = store.put_new("a", b"1")
    proxy.fault = lambda request: Answer(304)
    assert store.get("a", if_changed_from=version) is None


def test_an_upload_in_a_session_carries_its_condition(
    cloud_place: Callable[[str], Place], cloud_environment: Callable[[str, str], None]
) -> None:
    """fake-gcs-server ignores the precondition of a long upload; Google does not, and is sent it."""
    place = cloud_place("gs")
    with Proxy(place.server_url) as proxy:
        cloud_environment("gs", proxy.url)
        place.connect().put_new("large", bytes(9_000_000))
    assert "uploadType=resumable" in proxy.requests[0].path
    assert "ifGenerationMatch=0" in proxy.requests[0].path


def test_parts_of_a_large_file_in_s3(
    cloud_place: Callable[[str], Place],
    cloud_environment: Callable[[str, str], None],
    tmp_path: Path,
) -> None:
    """A file that is sent in parts is put once too, and parts that nobody completed are given up."""
    place = cloud_place("s3")
    (tmp_path / "file").write_bytes(data := bytes(range(256)) * 50_000)
    with Proxy(place.server_url) as proxy:
        cloud_environment("s3", proxy.url)
        store = S3Store(place.url.split("/")[2], part_bytes=5 << 20)
        version = store.put_new("large", tmp_path / "file")
        assert (store.get("large").data, store.get("large").version) == (data, version)
        with pytest.raises(PreconditionFailed):
            store.put_new("large", tmp_path / "file")
        assert [r.method for r in proxy.requests].count("DELETE") == 1
        lost = [LOST]
        proxy.fault = lambda r: (
            lost.pop() if lost and r.method == "POST" and "uploads" not in r.path else None
        )
        assert store.put_new("again", tmp_path / "file") == store.get("again").version


def test_a_read_that_breaks_off_is_read_again(place: Place, proxy: Proxy) -> None:
    """A connection that breaks before or in the answer costs a second try; half a body is never taken."""
    store = place.connect()
    store.put_new("a", bytes(range(256)))
    for fault in (LOST, CUT):
        proxy.fault = _first(fault, "GET")
        assert store.get("a").data == bytes(range(256))
        proxy.fault = _first(fault, "GET")
        assert store.read_range("a", 100, 100) == bytes(range(100, 200))
