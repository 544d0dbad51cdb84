"""The release cache's thread: it sees what is new, makes answers faster, and outlives what fails."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from tests.serving.fakes import FlakyStore
from tests.serving.models import TRAINED_THROUGH, released, serves, two_tastes
from tests.support.waiting import wait_until

from marquee.registry.object_store.file_store import FileStore
from marquee.registry.object_store.object_store import ObjectStore
from marquee.serving.engine import Engine
from marquee.serving.release_cache import ReleaseCache

LATER = TRAINED_THROUGH + timedelta(days=1)


def test_what_only_makes_answers_faster_is_made_when_the_first_one_can_be_out(
    store: FileStore, flaky: FlakyStore
) -> None:
    """By the thread that loads, and again for a release that follows."""
    released(store)
    prepared, goes_on = threading.Semaphore(0), threading.Event()

    class Watched(Engine):
        def prepare(self) -> None:
            goes_on.wait(10)
            super().prepare()
            prepared.release()

    cache = ReleaseCache(flaky, refresh_s=0.02, load=Watched.load)
    serving = cache.get(10)
    assert serving is not None
    assert not serving.engines["control"].prepared  # And still it serves.
    goes_on.set()
    assert prepared.acquire(timeout=10)
    assert serving.engines["control"].prepared
    released(store, two_tastes(mean=3.5), LATER)
    assert prepared.acquire(timeout=10)
    cache.close()


def test_what_fails_to_make_answers_faster_stops_neither_them_nor_the_looks(
    store: FileStore, flaky: FlakyStore, caplog: pytest.LogCaptureFixture
) -> None:
    released(store)
    tried = threading.Semaphore(0)

    class Short(Engine):
        def prepare(self) -> None:
            tried.release()
            raise MemoryError

    cache = ReleaseCache(flaky, refresh_s=0.02, load=Short.load)
    assert cache.get(10) is not None
    for _ in range(3):
        assert tried.acquire(timeout=10)
    new = released(store, two_tastes(mean=3.5), LATER)
    wait_until(lambda: serves(cache) == new, timeout_s=10)
    cache.close()
    assert serves(cache) == new
    assert "building a top-k index" in caplog.text


def test_the_background_sees_a_release_by_itself(store: FileStore, flaky: FlakyStore) -> None:
    released(store)
    loaded = threading.Semaphore(0)

    def load(store: ObjectStore, version: str) -> Engine:
        engine = Engine.load(store, version)
        loaded.release()
        return engine

    cache = ReleaseCache(flaky, refresh_s=0.02, load=load)
    assert cache.get(10) is not None
    assert loaded.acquire(timeout=10)
    released(store, two_tastes(mean=3.5), LATER)
    assert loaded.acquire(timeout=10)
    cache.close()
