"""The release cache: lazy, swapped whole, and never left without what was good."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from tests.serving.fakes import FlakyStore
from tests.serving.models import TRAINED_THROUGH, corrupt, released, serves, two_tastes, written

from marquee.registry.arm_assignment import Arm
from marquee.registry.object_store.file_store import FileStore
from marquee.registry.object_store.object_store import ObjectStore
from marquee.registry.release import CURRENT, new_release, publish_release
from marquee.registry.rollout import canary, promote
from marquee.serving.engine import Engine
from marquee.serving.release_cache import ReleaseCache

LATER = TRAINED_THROUGH + timedelta(days=1)


@pytest.fixture
def cache(flaky: FlakyStore) -> Iterator[ReleaseCache]:
    """Looks when it is told to: the tests call ``look``, and the thread sleeps."""
    cache = ReleaseCache(flaky, refresh_s=3_600)
    yield cache
    cache.close()


def test_nothing_is_read_or_started_before_the_first_answer(store: FileStore, flaky: FlakyStore) -> None:
    threads = threading.active_count()
    ReleaseCache(flaky, refresh_s=0.1)
    assert (flaky.calls, threading.active_count()) == ([], threads)


def test_the_first_answers_load_it_once(store: FileStore, flaky: FlakyStore) -> None:
    """However many come at the same moment, and all of them get it."""
    version = released(store)
    loads: list[str] = []

    def load(store: ObjectStore, version: str) -> Engine:
        loads.append(version)
        return Engine.load(store, version)

    cache = ReleaseCache(flaky, refresh_s=3_600, load=load)
    with ThreadPoolExecutor(8) as pool:
        servings = list(pool.map(lambda _: cache.get(10), range(32)))
    cache.close()
    assert loads == [version]
    assert {id(serving) for serving in servings} == {id(cache.get())}


def test_a_look_without_news_is_one_conditional_read(
    store: FileStore, flaky: FlakyStore, cache: ReleaseCache
) -> None:
    released(store)
    cache.refresh()
    flaky.calls.clear()
    before = cache.get()
    cache.refresh()
    assert flaky.calls == [f"get {CURRENT}"]
    assert cache.get() is before


def test_a_newer_release_is_swapped_in_and_answers_under_way_keep_theirs(
    store: FileStore, cache: ReleaseCache
) -> None:
    old = released(store)
    cache.refresh()
    under_way = cache.get()
    new = released(store, two_tastes(mean=3.5), LATER)
    cache.refresh()
    assert serves(cache) == new
    assert under_way is not None
    assert under_way.release.arms[0].version == old
    assert under_way.engines["control"].list_popular(1)[0].rating == 3.0


def test_two_arms_are_loaded_at_once_and_one_version_once(store: FileStore, cache: ReleaseCache) -> None:
    old = released(store)
    cache.refresh()
    before = cache.get()
    new = written(store, two_tastes(mean=3.5), LATER)
    canary(store, new, weight=0.5, author="test")
    cache.refresh()
    serving = cache.get()
    assert serving is not None
    assert before is not None
    assert {name: engine.version for name, engine in serving.engines.items()} == {
        "control": old,
        "canary": new,
    }
    assert serving.engines["control"] is before.engines["control"]


def test_what_is_loaded_serves_on_while_the_store_is_away(
    store: FileStore, flaky: FlakyStore, cache: ReleaseCache
) -> None:
    version = released(store)
    cache.refresh()
    flaky.away = True
    cache.refresh()
    assert serves(cache) == version
    assert "ObjectStoreUnavailable" in cache.store_error
    flaky.away = False
    cache.refresh()
    assert cache.store_error == ""


def test_refresh_after_interrupted_load_loads_the_release(store: FileStore, flaky: FlakyStore) -> None:
    """If the store fails between the document and the artifact, the next refresh reads both again."""
    version = released(store)
    failures = iter([True, False])

    def load(store: ObjectStore, version: str) -> Engine:
        flaky.away = next(failures)
        return Engine.load(store, version)

    cache = ReleaseCache(flaky, refresh_s=3_600, load=load, background=False)
    cache.refresh()
    assert serves(cache) is None
    flaky.away = False
    cache.refresh()
    assert serves(cache) == version


@pytest.mark.parametrize("file", ["item_vectors.npy", "manifest.json", "movie_ids.json"])
def test_a_bad_artifact_is_refused_and_the_one_before_serves_on(
    store: FileStore, cache: ReleaseCache, file: str
) -> None:
    old = released(store)
    cache.refresh()
    bad = released(store, two_tastes(mean=3.5), LATER)
    corrupt(store, bad, file)
    cache.refresh()
    assert serves(cache) == old
    assert cache.release_refused
    (refusal,) = cache.refusals
    assert refusal.release == 2
    assert bad in refusal.reason
    assert cache.store_error == ""


def test_a_refused_release_is_not_loaded_again_and_again(
    store: FileStore, flaky: FlakyStore, cache: ReleaseCache
) -> None:
    corrupt(store, released(store), "popularity.npy")
    cache.refresh()
    flaky.calls.clear()
    cache.refresh()
    assert flaky.calls == [f"get {CURRENT}"]


def test_an_instance_that_starts_on_a_bad_release_goes_back(store: FileStore, cache: ReleaseCache) -> None:
    """It never had the one before in memory, and finds it in the releases of the past."""
    old = released(store)
    for mean in (3.25, 3.5):
        corrupt(store, released(store, two_tastes(mean=mean), LATER), "item_biases.npy")
    cache.refresh()
    assert serves(cache) == old
    assert [refusal.release for refusal in cache.refusals] == [3, 2]
    assert cache.release_refused


def test_a_good_release_after_a_bad_one_is_taken(store: FileStore, cache: ReleaseCache) -> None:
    released(store)
    corrupt(store, released(store, two_tastes(mean=3.5), LATER), "item_biases.npy")
    cache.refresh()
    good = released(store, two_tastes(mean=4.0), LATER)
    cache.refresh()
    assert serves(cache) == good
    assert not cache.release_refused


def test_one_bad_arm_refuses_the_experiment(store: FileStore, cache: ReleaseCache) -> None:
    """Half an experiment is not what was asked for."""
    old = released(store)
    cache.refresh()
    arms = (Arm("control", old, 0.5), Arm("canary", "never-written", 0.5))
    publish_release(store, lambda before: new_release(arms, author="test", reason="", after=before))
    cache.refresh()
    serving = cache.get()
    assert serving is not None
    assert serving.release.number == 1
    assert "there is no artifact never-written" in cache.refusals[-1].reason


def test_a_release_document_that_cannot_be_read_is_reported_once(
    store: FileStore, cache: ReleaseCache
) -> None:
    version = released(store)
    cache.refresh()
    store.replace(CURRENT, b"{", store.get(CURRENT).version)
    cache.refresh()
    cache.refresh()
    assert serves(cache) == version
    assert [refusal.release for refusal in cache.refusals] == [0]


def test_no_release_is_no_fault(store: FileStore, cache: ReleaseCache) -> None:
    cache.refresh()
    assert (cache.get(), cache.store_error, cache.refusals) == (None, "", [])


def test_a_release_that_is_gone_is_a_store_that_is_away(store: FileStore, cache: ReleaseCache) -> None:
    """A volume that is not mounted any more looks like an empty one."""
    version = released(store)
    cache.refresh()
    store.delete(CURRENT)
    cache.refresh()
    assert serves(cache) == version
    assert "ObjectNotFound" in cache.store_error


def test_memory_of_the_old_model_comes_back(store: FileStore, cache: ReleaseCache) -> None:
    """Nothing but the answers under way holds on to it."""
    import gc
    import weakref

    released(store)
    cache.refresh()
    serving = cache.get()
    assert serving is not None
    old = weakref.ref(serving.engines["control"])
    del serving
    promote(store, written(store, two_tastes(mean=3.5), LATER), author="test")
    cache.refresh()
    gc.collect()
    assert old() is None
