"""Tests of the release cache's thread: it refreshes, builds indexes, and survives errors."""

from __future__ import annotations

import threading
import time
from datetime import timedelta

import pytest
from tests.serving.fakes import FlakyStore
from tests.serving.models import TRAINED_THROUGH, current_version, release_model, two_group_model
from tests.support.waiting import wait_until

from marquee.registry.object_store.file_store import FileStore
from marquee.registry.object_store.object_store import ObjectStore
from marquee.serving.engine import Engine
from marquee.serving.release_cache import ReleaseCache

LATER = TRAINED_THROUGH + timedelta(days=1)


def test_thread_prepares_engines_after_the_first_request(store: FileStore, flaky: FlakyStore) -> None:
    """A release serves before its index is built, and each later release gets one too."""
    release_model(store)
    prepared, goes_on = threading.Semaphore(0), threading.Event()

    class Watched(Engine):
        def prepare(self) -> None:
            goes_on.wait(10)
            super().prepare()
            prepared.release()

    cache = ReleaseCache(flaky, refresh_s=0.02, load=Watched.load)
    loaded = cache.get(10)
    assert loaded is not None
    assert not loaded.engines["control"].prepared  # It serves without an index.
    goes_on.set()
    assert prepared.acquire(timeout=10)
    assert loaded.engines["control"].prepared
    release_model(store, two_group_model(mean=3.5), LATER)
    assert prepared.acquire(timeout=10)
    cache.close()


def test_thread_failing_prepare_stops_nothing(
    store: FileStore, flaky: FlakyStore, caplog: pytest.LogCaptureFixture
) -> None:
    """Requests work without an index, and refreshes continue."""
    release_model(store)
    tried = threading.Semaphore(0)

    class Short(Engine):
        def prepare(self) -> None:
            tried.release()
            raise MemoryError

    cache = ReleaseCache(flaky, refresh_s=0.02, load=Short.load)
    assert cache.get(10) is not None
    for _ in range(3):
        assert tried.acquire(timeout=10)
    new = release_model(store, two_group_model(mean=3.5), LATER)
    wait_until(lambda: current_version(cache) == new, timeout_s=10)
    cache.close()
    assert current_version(cache) == new
    assert "building a top-k index" in caplog.text


def test_thread_loads_a_new_release(store: FileStore, flaky: FlakyStore) -> None:
    """No call is needed after the first."""
    release_model(store)
    loaded = threading.Semaphore(0)

    def load(store: ObjectStore, version: str) -> Engine:
        engine = Engine.load(store, version)
        loaded.release()
        return engine

    cache = ReleaseCache(flaky, refresh_s=0.02, load=load)
    assert cache.get(10) is not None
    assert loaded.acquire(timeout=10)
    release_model(store, two_group_model(mean=3.5), LATER)
    assert loaded.acquire(timeout=10)
    cache.close()


def test_get_overdue_look_is_awaited(store: FileStore, flaky: FlakyStore) -> None:
    """A request after a time without processor gets the release that was published meanwhile."""
    release_model(store)
    cache = ReleaseCache(flaky, refresh_s=3_600)
    assert cache.get(10) is not None
    new = release_model(store, two_group_model(mean=3.5), LATER)

    def look() -> None:
        cache.refresh()
        cache._end_look()

    threading.Timer(0.05, look).start()
    cache._overdue_at = 0.0
    loaded = cache.get()
    cache.close()
    assert loaded is not None
    assert loaded.release.arms[0].version == new


def test_get_overdue_look_that_hangs_delays_requests_once(store: FileStore) -> None:
    """Together the requests wait for a bounded time; then the loaded release serves without a delay."""
    release_model(store)
    cache = ReleaseCache(store, refresh_s=3_600)
    assert cache.get(10) is not None
    cache._overdue_at = 0.0
    started = time.monotonic()
    assert cache.get() is not None
    first = time.monotonic() - started
    assert 0.1 <= first < 5
    started = time.monotonic()
    for _ in range(100):
        assert cache.get() is not None
    cache.close()
    assert time.monotonic() - started < 0.1
