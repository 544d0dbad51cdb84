"""Tests of publishing releases, with concurrent publishers and publishers that are killed."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.registry.conftest import StoreLocation
from tests.registry.models import AUTHOR, store_model
from tests.support.dying_store import DyingStore

from marquee.errors import ObjectNotFound, ObjectStoreUnavailable, PreconditionFailed, ReleaseError
from marquee.registry.arm_assignment import Arm
from marquee.registry.object_store.connect import connect
from marquee.registry.object_store.object_store import Content, ObjectStore, Version
from marquee.registry.release import (
    CURRENT,
    Release,
    iter_releases,
    new_release,
    publish_release,
    read_current_release,
    read_if_changed,
    read_release,
)
from marquee.registry.rollout import promote


def _serving(version: str) -> Callable[[Release | None], Release]:
    return lambda before: new_release((Arm("control", version, 1.0),), author="test", reason=version, after=before)


def _reasons(store: ObjectStore) -> list[str]:
    return [r.reason for r in iter_releases(store)]


def test_read_before_the_first_release_finds_none(store: ObjectStore) -> None:
    """Listing is empty; reading raises."""
    assert list(iter_releases(store)) == []
    with pytest.raises(ObjectNotFound):
        read_current_release(store)
    with pytest.raises(ReleaseError, match="no release 1"):
        read_release(store, 1)


def test_publish_numbers_and_keeps_releases(store: ObjectStore) -> None:
    """Each publication has the next number, is current, and stays readable; on every kind of store."""
    for number in (1, 2, 3):
        published = publish_release(store, _serving(f"v{number}"))
        assert published.number == number
        found, version = read_current_release(store)
        assert found == published == read_release(store, number)
        assert read_if_changed(store, version) is None
    assert _reasons(store) == ["v3", "v2", "v1"]
    assert found.previous == 2


def test_read_if_changed_returns_a_newer_release(file_store: ObjectStore) -> None:
    """The version of an older document leads to the newer one."""
    publish_release(file_store, _serving("v1"))
    _, seen = read_current_release(file_store)
    publish_release(file_store, _serving("v2"))
    newer = read_if_changed(file_store, seen)
    assert newer == read_current_release(file_store)


def test_publish_concurrent_publishers_get_consecutive_numbers(location: StoreLocation) -> None:
    """No release is lost or doubled, and each was made from the one before it."""
    publishers, each = 4, 2 if location.scheme == "s3" else 5
    numbers: list[int] = []
    start = threading.Barrier(publishers)

    def run(publisher: int) -> None:
        store = location.connect()
        start.wait()
        for turn in range(each):
            numbers.append(publish_release(store, _serving(f"{publisher}.{turn}")).number)

    threads = [threading.Thread(target=run, args=(p,)) for p in range(publishers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    total = publishers * each
    assert sorted(numbers) == list(range(1, total + 1))
    releases = list(iter_releases(location.connect()))
    assert [r.number for r in releases] == list(range(total, 0, -1))
    assert [r.previous for r in releases] == [*range(total - 1, 0, -1), None]
    assert len(set(_reasons(location.connect()))) == total


@pytest.mark.parametrize("first", [True, False])
def test_publish_killed_before_claiming_a_number_changes_nothing(file_store: ObjectStore, first: bool) -> None:
    """The number goes to the next publisher."""
    if not first:
        publish_release(file_store, _serving("v1"))
    number = 1 if first else 2
    dying = DyingStore(file_store, at=f"releases/{number}.json")
    with pytest.raises(ObjectStoreUnavailable):
        publish_release(dying, _serving("lost"))
    assert publish_release(file_store, _serving("next")).number == number
    assert "lost" not in _reasons(file_store)


@pytest.mark.parametrize("first", [True, False])
def test_publish_killed_before_the_swap_is_finished_by_the_next(file_store: ObjectStore, first: bool) -> None:
    """The current release stays until then; the next publisher adds its own release after the unfinished one."""
    if not first:
        publish_release(file_store, _serving("v1"))
    number = 1 if first else 2
    dying = DyingStore(file_store, at=CURRENT)
    with pytest.raises(ObjectStoreUnavailable):
        publish_release(dying, _serving("half"))
    if not first:
        assert read_current_release(file_store)[0].reason == "v1"
    seen: list[Release | None] = []

    def change(before: Release | None) -> Release:
        seen.append(before)
        return _serving("next")(before)

    published = publish_release(file_store, change)
    assert published.number == number + 1
    assert [r.reason for r in seen if r] == ["half"]
    assert _reasons(file_store)[:2] == ["next", "half"]


def test_promote_again_after_a_kill_publishes_once(file_store: ObjectStore) -> None:
    """A job that is restarted after it was killed in the swap publishes nothing twice."""
    version = store_model(file_store)
    with pytest.raises(ObjectStoreUnavailable):
        promote(DyingStore(file_store, at=CURRENT), version, **AUTHOR)
    assert promote(file_store, version, **AUTHOR).number == 1
    assert read_current_release(file_store)[0].number == 1


_PUBLISH_FOR_EVER = """
import itertools, sys
from marquee.registry.object_store.connect import connect
from marquee.registry.arm_assignment import Arm
from marquee.registry.release import new_release, publish_release
store = connect(sys.argv[1])
for turn in itertools.count():
    reason = f"{sys.argv[2]}.{turn}"
    arms = (Arm("control", "v", 1.0),)
    publish_release(store, lambda before: new_release(arms, author="t", reason=reason, after=before))
    print(reason, flush=True)
"""


def test_publish_killed_processes_lose_nothing(tmp_path: Path) -> None:
    """Processes publish at once and are killed at any point.

    Every release that one of them has reported is there once, in one unbroken chain.
    """
    reported: list[str] = []
    for generation in range(4):
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", _PUBLISH_FOR_EVER, tmp_path.as_uri(), f"{generation}.{n}"],
                stdout=subprocess.PIPE,
                text=True,
            )
            for n in range(2)
        ]
        for process in processes:
            assert process.stdout
            reported += [process.stdout.readline().strip() for _ in range(3 + generation)]
        for process in processes:
            process.kill()
            assert process.stdout
            # The kill may have truncated the last line.
            reported += [line.strip() for line in process.stdout if line.endswith("\n")]
            process.wait()
            process.stdout.close()
    store = connect(tmp_path.as_uri())
    last = publish_release(store, _serving("last"))
    releases = list(iter_releases(store))
    assert releases[0] == last
    assert [r.number for r in releases] == list(range(last.number, 0, -1))
    assert [r.previous for r in releases] == [*range(last.number - 1, 0, -1), None]
    reasons = Counter(_reasons(store))
    assert set(reasons.values()) == {1}
    assert set(reported) <= set(reasons)


class _RacingStore:
    """A store in which another publisher is always faster."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def put_new(self, name: str, data: Content) -> Version:
        raise PreconditionFailed("another was first")


def test_publish_always_too_late_raises(file_store: ObjectStore) -> None:
    """A publisher that never gets a number gives up, with a reason."""
    later: Any = _RacingStore(file_store)
    with pytest.raises(ReleaseError, match="faster"):
        publish_release(later, _serving("v1"))
