"""The ``recommend`` function while its object store holds what is bad, is away, or has nothing yet."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from tests.functions.conftest import Start, eventually
from tests.servers.gcs import GcsServer
from tests.serving.models import TRAINED_THROUGH, corrupt, released, two_tastes, written
from tests.support.waiting import wait_until

from marquee.registry.arm_assignment import Arm
from marquee.registry.object_store.connect import connect
from marquee.registry.object_store.file_store import FileStore
from marquee.registry.release import new_release, publish_release

pytestmark = [pytest.mark.servers, pytest.mark.long]


def test_a_bad_artifact_is_refused_and_reported(store: FileStore, start: Start) -> None:
    good = released(store)
    function = start()
    function.get("/readyz")
    # The document that names it comes after the damage, as a disk's fault in storage would.

    bad = written(store, two_tastes(mean=3.5), TRAINED_THROUGH + timedelta(days=1))
    corrupt(store, bad, "item_vectors.npy")
    publish_release(
        store, lambda r: new_release((Arm("control", bad, 1.0),), author="test", reason="", after=r)
    )
    reply = eventually(lambda: function.get("/recommend/1000"), lambda r: r.notes == "release-refused")
    assert reply.headers["Marquee-Model-Version"] == good
    version = function.get("/version").document
    assert version["release"] == 1
    assert bad in str(version["refusals"])
    assert bad in function.log.read_text()


def test_the_store_goes_and_comes_back(store: FileStore, start: Start) -> None:
    released(store)
    function = start()
    function.get("/readyz")
    away = store.root.rename(store.root.with_name("away"))
    store.root.write_text("no directory any more")
    reply = eventually(lambda: function.get("/recommend/1000"), lambda r: "object-store" in r.notes)
    assert reply.headers["Marquee-Tier"] == "personalised"
    store.root.unlink()
    away.rename(store.root)
    newer = released(store, two_tastes(mean=3.5), TRAINED_THROUGH + timedelta(days=1))
    reply = eventually(
        lambda: function.get("/recommend/1000"), lambda r: r.headers["Marquee-Model-Version"] == newer
    )
    assert reply.notes == ""


def test_google_cloud_storage_is_killed_and_nobody_is_failed(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who was answered before is answered from memory, and who was not gets what is popular."""
    with GcsServer(tmp_path / "gcs") as server:
        server.make_bucket("models")
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.url)
        version = released(connect("gs://models/here"))
        function = start(objects_url="gs://models/here", STORAGE_EMULATOR_HOST=server.url)
        first = function.get("/recommend/1000")
        assert first.headers["Marquee-Model-Version"] == version
        assert first.headers["Marquee-Tier"] == "personalised"
    redelivered = eventually(lambda: function.get("/recommend/1000"), lambda r: "object-store" in r.notes)
    assert redelivered.movies == first.movies
    other = function.get("/recommend/1001")
    assert (other.status, other.headers["Marquee-Tier"]) == (200, "popular")
    assert "ObjectStoreUnavailable" in str(function.get("/version").document["object_store"])


def test_with_nothing_at_all_it_is_503_until_a_release_comes(store: FileStore, start: Start) -> None:
    """And healthy all the time: an instance that waits for its first model must not be killed for it."""
    function = start()
    reply = function.get("/recommend/1000")
    assert (reply.status, reply.headers["Retry-After"]) == (503, "2")
    assert (function.get("/readyz").status, function.get("/healthz").status) == (503, 200)
    released(store)
    wait_until(lambda: function.get("/readyz").status == 200, timeout_s=30)
    assert function.get("/recommend/1000").status == 200
