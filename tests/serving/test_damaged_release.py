"""Tests of instances beside a ``releases/current.json`` that cannot be used."""

from __future__ import annotations

from datetime import timedelta

import pytest
from tests.registry.damaged_documents import DAMAGES, damage_current
from tests.serving.models import TRAINED_THROUGH, flip_last_bit, release_model, two_group_model

from marquee.registry.object_store.file_store import FileStore
from marquee.registry.release import CURRENT
from marquee.registry.rollout import repair_current_release
from marquee.serving.release_cache import ReleaseCache

LATER = TRAINED_THROUGH + timedelta(days=1)


def _cold(store: FileStore) -> ReleaseCache:
    cache = ReleaseCache(store, refresh_s=3_600, background=False)
    cache.refresh()
    return cache


def _number(cache: ReleaseCache) -> int:
    loaded = cache.get()
    return loaded.release.number if loaded else 0


@pytest.fixture
def releases(store: FileStore) -> list[str]:
    """Two releases."""
    return [release_model(store), release_model(store, two_group_model(mean=3.5), LATER)]


@pytest.mark.parametrize("kind", DAMAGES)
def test_cold_instance_beside_damaged_document_serves_newest_whole_release(
    store: FileStore, releases: list[str], kind: str
) -> None:
    """With a note that is about the release, not the store; repair ends it."""
    damage_current(store, kind)
    cache = _cold(store)
    assert (_number(cache), cache.release_refused, cache.store_error) == (2, True, "")
    assert cache.refusals[0].release == 0
    cache.refresh()
    assert (len(cache.refusals), cache.release_refused) == (1, True)
    repair_current_release(store)
    cache.refresh()
    assert (_number(cache), cache.release_refused) == (2, False)


@pytest.mark.parametrize("kind", DAMAGES)
def test_warm_instance_beside_damaged_document_keeps_its_release(
    store: FileStore, releases: list[str], kind: str
) -> None:
    """The note is the same as for a damaged artifact."""
    cache = _cold(store)
    damage_current(store, kind)
    cache.refresh()
    assert (_number(cache), cache.release_refused, cache.store_error) == (2, True, "")


@pytest.mark.parametrize("kind", DAMAGES)
def test_warm_instance_beside_repaired_document_no_longer_refuses_it(
    store: FileStore, releases: list[str], kind: str
) -> None:
    """Also if the repaired document is the one that it has loaded, byte for byte."""
    cache = _cold(store)
    whole = store.get(CURRENT).data
    damage_current(store, kind)
    cache.refresh()
    assert cache.release_refused
    store.replace(CURRENT, whole, store.get(CURRENT).version)
    cache.refresh()
    assert (_number(cache), cache.release_refused) == (2, False)


def test_cold_instance_steps_over_damaged_numbers_and_artifacts(store: FileStore, releases: list[str]) -> None:
    """Documents and artifacts both have to be whole."""
    third = release_model(store, two_group_model(mean=4.0), LATER)
    flip_last_bit(store, third, "popularity.npy")
    store.delete("releases/2.json")
    store.put_new("releases/2.json", b"\xff")
    damage_current(store, "truncated")
    cache = _cold(store)
    assert (_number(cache), cache.release_refused) == (1, True)


def test_cold_instance_without_current_document_serves_newest_whole_release(
    store: FileStore, releases: list[str]
) -> None:
    """It was deleted."""
    store.delete(CURRENT)
    cache = _cold(store)
    assert (_number(cache), cache.release_refused) == (2, True)


def test_cold_instance_without_any_whole_release_has_none(store: FileStore) -> None:
    """Nothing can be loaded, and the reason is kept."""
    store.put_new(CURRENT, b"{")
    cache = _cold(store)
    assert _number(cache) == 0
    assert CURRENT in cache.refusals[0].reason
