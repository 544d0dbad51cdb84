"""Tests of the release cache: lazy loading, atomic replacement, and the last good release."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import msgspec
import pytest
from tests.serving.fakes import FlakyStore
from tests.serving.models import (
    TRAINED_THROUGH,
    current_version,
    flip_last_bit,
    release_model,
    store_model,
    two_group_model,
)

from marquee.registry.arm_assignment import Arm
from marquee.registry.object_store.file_store import FileStore
from marquee.registry.object_store.object_store import ObjectStore
from marquee.registry.release import CURRENT, new_release, publish_release
from marquee.registry.rollout import canary, promote
from marquee.serving.engine import Engine
from marquee.serving.release_cache import ReleaseCache
from marquee.serving.user_state import EMPTY

LATER = TRAINED_THROUGH + timedelta(days=1)


@pytest.fixture
def cache(flaky: FlakyStore) -> Iterator[ReleaseCache]:
    """A cache that refreshes when it is told to: the tests call ``refresh``, and the thread sleeps."""
    cache = ReleaseCache(flaky, refresh_s=3_600)
    yield cache
    cache.close()


def test_cache_unused_reads_and_starts_nothing(store: FileStore, flaky: FlakyStore) -> None:
    """There is neither a call of the store nor a thread before the first request."""
    threads = threading.active_count()
    ReleaseCache(flaky, refresh_s=0.1)
    assert (flaky.calls, threading.active_count()) == ([], threads)


def test_get_concurrent_first_requests_load_once(store: FileStore, flaky: FlakyStore) -> None:
    """All requests that come at the same moment get the one loaded release."""
    version = release_model(store)
    loads: list[str] = []

    def load(store: ObjectStore, version: str) -> Engine:
        loads.append(version)
        return Engine.load(store, version)

    cache = ReleaseCache(flaky, refresh_s=3_600, load=load)
    with ThreadPoolExecutor(8) as pool:
        servings = list(pool.map(lambda _: cache.get(10), range(32)))
    cache.close()
    assert loads == [version]
    assert {id(loaded) for loaded in servings} == {id(cache.get())}


def test_refresh_unchanged_release_is_one_conditional_read(
    store: FileStore, flaky: FlakyStore, cache: ReleaseCache
) -> None:
    """The loaded release stays the same object."""
    release_model(store)
    cache.refresh()
    flaky.calls.clear()
    before = cache.get()
    cache.refresh()
    assert flaky.calls == [f"get {CURRENT}"]
    assert cache.get() is before


def test_refresh_newer_release_leaves_requests_their_own(store: FileStore, cache: ReleaseCache) -> None:
    """A request that holds the old release can finish with it."""
    old = release_model(store)
    cache.refresh()
    under_way = cache.get()
    new = release_model(store, two_group_model(mean=3.5), LATER)
    cache.refresh()
    assert current_version(cache) == new
    assert under_way is not None
    assert under_way.release.arms[0].version == old
    assert under_way.engines["control"].recommend(EMPTY, 1)[1][0].rating == 3.0


def test_refresh_two_arms_loads_each_version_once(store: FileStore, cache: ReleaseCache) -> None:
    """The engine that is loaded already is reused."""
    old = release_model(store)
    cache.refresh()
    before = cache.get()
    new = store_model(store, two_group_model(mean=3.5), LATER)
    canary(store, new, weight=0.5, author="test")
    cache.refresh()
    loaded = cache.get()
    assert loaded is not None
    assert before is not None
    assert {name: engine.version for name, engine in loaded.engines.items()} == {
        "control": old,
        "canary": new,
    }
    assert loaded.engines["control"] is before.engines["control"]


def test_refresh_program_of_format_1_keeps_its_release(
    store: FileStore, cache: ReleaseCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An instance that reads format 1 alone meets an experiment: it serves on with what it has, and says so."""
    old = release_model(store)
    cache.refresh()
    new = store_model(store, two_group_model(mean=3.5), LATER)
    canary(store, new, weight=0.1, author="test")
    with monkeypatch.context() as old_program:
        old_program.setattr("marquee.registry.release.FORMAT", 1)
        cache.refresh()
    assert (current_version(cache), cache.release_refused) == (old, True)
    assert "format 2; this program reads format 1" in cache.refusals[-1].reason
    promote(store, new, author="test")
    cache.refresh()
    assert (current_version(cache), cache.release_refused) == (new, False)


def test_refresh_store_unavailable_keeps_the_release(store: FileStore, flaky: FlakyStore, cache: ReleaseCache) -> None:
    """The error is reported until a refresh succeeds."""
    version = release_model(store)
    cache.refresh()
    flaky.away = True
    cache.refresh()
    assert current_version(cache) == version
    assert "ObjectStoreUnavailable" in cache.store_error
    flaky.away = False
    cache.refresh()
    assert cache.store_error == ""


def test_refresh_after_interrupted_load_loads_the_release(store: FileStore, flaky: FlakyStore) -> None:
    """If the store fails between the document and the artifact, the next refresh reads both again."""
    version = release_model(store)
    failures = iter([True, False])

    def load(store: ObjectStore, version: str) -> Engine:
        flaky.away = next(failures)
        return Engine.load(store, version)

    cache = ReleaseCache(flaky, refresh_s=3_600, load=load, background=False)
    cache.refresh()
    assert current_version(cache) is None
    flaky.away = False
    cache.refresh()
    assert current_version(cache) == version


@pytest.mark.parametrize("file", ["item_vectors.npy", "manifest.json", "movie_ids.json"])
def test_refresh_corrupt_artifact_keeps_the_previous_release(store: FileStore, cache: ReleaseCache, file: str) -> None:
    """The refusal has the number and the version."""
    old = release_model(store)
    cache.refresh()
    bad = release_model(store, two_group_model(mean=3.5), LATER)
    flip_last_bit(store, bad, file)
    cache.refresh()
    assert current_version(cache) == old
    assert cache.release_refused
    (refusal,) = cache.refusals
    assert refusal.release == 2
    assert bad in refusal.reason
    assert cache.store_error == ""


def test_refresh_refused_release_is_not_loaded_again(store: FileStore, flaky: FlakyStore, cache: ReleaseCache) -> None:
    """The next refresh only reads the document."""
    flip_last_bit(store, release_model(store), "popularity.npy")
    cache.refresh()
    flaky.calls.clear()
    cache.refresh()
    assert flaky.calls == [f"get {CURRENT}"]


def test_refresh_first_load_of_bad_release_goes_back(store: FileStore, cache: ReleaseCache) -> None:
    """The previous release, never in memory before, is read from the store."""
    old = release_model(store)
    for mean in (3.25, 3.5):
        flip_last_bit(store, release_model(store, two_group_model(mean=mean), LATER), "item_biases.npy")
    cache.refresh()
    assert current_version(cache) == old
    assert [refusal.release for refusal in cache.refusals] == [3, 2]
    assert cache.release_refused


def test_refresh_good_release_after_a_bad_one_is_loaded(store: FileStore, cache: ReleaseCache) -> None:
    """The refusal is over."""
    release_model(store)
    flip_last_bit(store, release_model(store, two_group_model(mean=3.5), LATER), "item_biases.npy")
    cache.refresh()
    good = release_model(store, two_group_model(mean=4.0), LATER)
    cache.refresh()
    assert current_version(cache) == good
    assert not cache.release_refused


def test_refresh_one_bad_arm_refuses_the_release(store: FileStore, cache: ReleaseCache) -> None:
    """A part of an experiment must not serve."""
    old = release_model(store)
    cache.refresh()
    arms = (Arm("control", old, 0.5), Arm("canary", "never-written", 0.5))
    publish_release(store, lambda before: new_release(arms, author="test", reason="", after=before))
    cache.refresh()
    loaded = cache.get()
    assert loaded is not None
    assert loaded.release.number == 1
    assert "there is no artifact never-written" in cache.refusals[-1].reason


def test_refresh_malformed_document_is_reported_once(store: FileStore, cache: ReleaseCache) -> None:
    """The loaded release stays."""
    version = release_model(store)
    cache.refresh()
    store.replace(CURRENT, b"{", store.get(CURRENT).version)
    cache.refresh()
    cache.refresh()
    assert current_version(cache) == version
    assert [refusal.release for refusal in cache.refusals] == [0]


def test_refresh_without_release_is_no_error(store: FileStore, cache: ReleaseCache) -> None:
    """Nothing is loaded, and nothing is reported."""
    cache.refresh()
    assert (cache.get(), cache.store_error, cache.refusals) == (None, "", [])


def test_refresh_deleted_document_is_a_store_error(store: FileStore, cache: ReleaseCache) -> None:
    """A volume that is not mounted any more looks like an empty one."""
    version = release_model(store)
    cache.refresh()
    store.delete(CURRENT)
    cache.refresh()
    assert current_version(cache) == version
    assert "ObjectNotFound" in cache.store_error


def test_refresh_frees_the_previous_engine(store: FileStore, cache: ReleaseCache) -> None:
    """Only requests that still use the old engine keep it in memory."""
    import gc
    import weakref

    release_model(store)
    cache.refresh()
    loaded = cache.get()
    assert loaded is not None
    old = weakref.ref(loaded.engines["control"])
    del loaded
    promote(store, store_model(store, two_group_model(mean=3.5), LATER), author="test")
    cache.refresh()
    gc.collect()
    assert old() is None


def test_refresh_manifest_changed_since_its_release_is_refused(store: FileStore) -> None:
    """The release names the hash of each manifest, whose digits no other hash covers."""
    old = release_model(store)
    new = release_model(store, two_group_model(mean=3.5), LATER)
    name = f"models/{new}/manifest.json"
    changed = store.get(name).data.replace(b'"trained_through": "1', b'"trained_through": "2')
    assert changed != store.get(name).data or b'"trained_through": "2' in changed
    store.delete(name)
    store.put_new(name, changed + b"\n")
    cache = ReleaseCache(store, refresh_s=3_600, background=False)
    cache.refresh()
    assert current_version(cache) == old
    assert "has changed since it was released" in cache.refusals[0].reason


def test_refresh_release_without_manifest_hashes_is_loaded(store: FileStore, cache: ReleaseCache) -> None:
    """Releases of older programs have none."""
    version = release_model(store)
    document = store.get(CURRENT)
    release = msgspec.json.decode(document.data)
    assert list(release.pop("manifests")) == [version]
    store.replace(CURRENT, msgspec.json.encode(release), document.version)
    cache.refresh()
    assert current_version(cache) == version


def test_refresh_files_changed_in_place_do_not_change_answers(store: FileStore) -> None:
    """Item arrays are copies, and a cut user file is a refused record, not the end of the process."""
    version = release_model(store)
    engine = Engine.load(store, version)
    before = engine.item_factors.rank_items.copy()
    for file in ("rank_items.npy", "users.bin", "users.index"):
        path = store.root / "models" / version / file
        assert path.stat().st_mode & 0o222 == 0
        path.chmod(0o644)
        if file == "rank_items.npy":
            path.write_bytes(b"\xff" * path.stat().st_size)
        else:
            os.truncate(path, 3)
    assert (engine.item_factors.rank_items == before).all()
    assert engine.read_record("1000") is None
    assert engine.is_damaged("1000")
