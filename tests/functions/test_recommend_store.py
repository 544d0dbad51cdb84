"""Tests of the ``recommend`` function with a bad artifact, an unavailable store, or no release."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from tests.functions.conftest import Start, wait_for_reply
from tests.servers.gcs import GcsServer
from tests.serving.models import (
    TRAINED_THROUGH,
    flip_last_bit,
    release_model,
    release_still_model,
    store_model,
    two_group_model,
)
from tests.support.waiting import wait_until

from marquee.registry.arm_assignment import Arm
from marquee.registry.object_store.connect import connect
from marquee.registry.object_store.file_store import FileStore
from marquee.registry.release import new_release, publish_release

pytestmark = [pytest.mark.servers, pytest.mark.long]


def test_recommend_bad_artifact_is_refused_and_reported(store: FileStore, start: Start) -> None:
    """The previous release serves; /version and the log name the artifact."""
    good = release_still_model(store)
    function = start()
    function.get("/readyz")
    # Damaged before its release is published; promote would refuse it.

    bad = store_model(store, two_group_model(mean=3.5), TRAINED_THROUGH + timedelta(days=1))
    flip_last_bit(store, bad, "item_vectors.npy")
    publish_release(store, lambda r: new_release((Arm("control", bad, 1.0),), author="test", reason="", after=r))
    reply = wait_for_reply(lambda: function.get("/recommend/1000"), lambda r: r.notes == "release-refused")
    assert reply.headers["Marquee-Model-Version"] == good
    version = function.get("/version").document
    assert version["release"] == 1
    assert bad in str(version["refusals"])
    assert bad in function.log.read_text()


def test_recommend_store_unavailable_then_back_loads_new_releases(store: FileStore, start: Start) -> None:
    """The loaded release serves meanwhile."""
    release_still_model(store)
    function = start()
    function.get("/readyz")
    away = store.root.rename(store.root.with_name("away"))
    store.root.write_text("no directory any more")
    reply = wait_for_reply(lambda: function.get("/recommend/1000"), lambda r: "object-store" in r.notes)
    assert reply.headers["Marquee-Tier"] == "personalised"
    store.root.unlink()
    away.rename(store.root)
    newer = release_model(store, two_group_model(mean=3.5), TRAINED_THROUGH + timedelta(days=1))
    reply = wait_for_reply(
        lambda: function.get("/recommend/1000"), lambda r: r.headers["Marquee-Model-Version"] == newer
    )
    assert reply.notes == ""


def test_recommend_gcs_killed_fails_no_request(start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cached user is answered from memory, another one gets popular movies."""
    with GcsServer(tmp_path / "gcs") as server:
        server.make_bucket("models")
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.url)
        version = release_still_model(connect("gs://models/here"))
        function = start(objects_url="gs://models/here", STORAGE_EMULATOR_HOST=server.url)
        first = function.get("/recommend/1000")
        assert first.headers["Marquee-Model-Version"] == version
        assert first.headers["Marquee-Tier"] == "personalised"
    redelivered = wait_for_reply(lambda: function.get("/recommend/1000"), lambda r: "object-store" in r.notes)
    assert redelivered.movies == first.movies
    other = function.get("/recommend/1001")
    assert (other.status, other.headers["Marquee-Tier"]) == (200, "popular")
    assert "ObjectStoreUnavailable" in str(function.get("/version").document["object_store"])


def test_recommend_without_release_is_503_until_one_comes(store: FileStore, start: Start) -> None:
    """The health check succeeds meanwhile: an instance that waits for its first model must not be killed."""
    function = start()
    reply = function.get("/recommend/1000")
    assert (reply.status, reply.headers["Retry-After"]) == (503, "2")
    assert (function.get("/readyz").status, function.get("/healthz").status) == (503, 200)
    release_still_model(store)
    wait_until(lambda: function.get("/readyz").status == 200, timeout_s=30)
    assert function.get("/recommend/1000").status == 200
