"""Tests of releases that must not serve, and of many that may, in one running process of ``recommend``."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import psutil
import pytest
from tests.registry.models import forge, npy_bytes, overwrite
from tests.servers.function import Function
from tests.serving.models import TRAINED_THROUGH, release_model, store_model, two_group_model
from tests.support.waiting import wait_until

from marquee.registry.arm_assignment import Arm
from marquee.registry.manifest import object_name
from marquee.registry.object_store.file_store import FileStore
from marquee.registry.release import CURRENT, FORMAT, Release, new_release, publish_release
from marquee.registry.rollout import promote

pytestmark = pytest.mark.servers

MOVIES = 20_000
SWAPS = 12
MODEL_MB = 2.5
"""Less than the memory that a model of this size takes in the process: 2.8 MB, measured with a leak."""


@pytest.fixture
def function(store: FileStore, tmp_path: Path) -> Iterator[Function]:
    env = {
        "MARQUEE_OBJECTS_URL": f"file://{store.root}",
        "MARQUEE_RELEASE_REFRESH_S": "0.05",
        "MARQUEE_CALLER_TIMEOUT_MS": "20000",
        "MARQUEE_LOG_LEVEL": "WARNING",
    }
    with Function("recommend", tmp_path, env) as function:
        yield function


wait_briefly = partial(wait_until, timeout_s=30)


def _refusals(function: Function) -> list[dict[str, Any]]:
    return msgspec.convert(function.get("/version").document["refusals"], list[dict[str, Any]])


def _has_refusals(function: Function, count: int) -> bool:
    return len(_refusals(function)) == count


def _replace_release(version: str, before: Release | None) -> Release:
    """Return a release of ``version``, which :func:`promote` would refuse."""
    return new_release((Arm("control", version, 1.0),), author="test", reason="", after=before)


def _damage_functions(store: FileStore, version: str) -> dict[str, Callable[[], None]]:
    """Return functions that damage an artifact, by a word of the refusal's reason."""
    vectors = "item_vectors.npy"
    whole = store.get(object_name(version, vectors)).data
    manifest = msgspec.json.decode(store.get(object_name(version, "manifest.json")).data)
    nan = np.full((60, 2), np.nan, np.float32)
    return {
        "hash": lambda: overwrite(store, version, vectors, whole[:-1] + bytes([whole[-1] ^ 1])),
        "bytes, not": lambda: overwrite(store, version, vectors, whole[:-8]),
        "not finite": lambda: forge(store, version, vectors, npy_bytes(nan)),
        "in C order": lambda: forge(store, version, vectors, npy_bytes(nan[:59])),
        "smoke test": lambda: forge(store, version, vectors, npy_bytes(np.ones((60, 2), np.float32))),
        "update the program": lambda: overwrite(
            store, version, "manifest.json", msgspec.json.encode({**manifest, "format": 2})
        ),
    }


def test_recommend_every_kind_of_bad_artifact_keeps_the_previous_release(store: FileStore, function: Function) -> None:
    """A wrong hash, a truncated file, NaN, another shape, wrong predictions, a newer format: /version reports
    each with its reason, and no request fails.
    """
    good = release_model(store)
    wait_briefly(lambda: function.get("/readyz").status == 200)
    kinds = list(_damage_functions(store, good))
    for number, kind in enumerate(kinds):
        bad = store_model(store, two_group_model(mean=3.5), TRAINED_THROUGH + timedelta(days=1 + number))
        _damage_functions(store, bad)[kind]()
        publish_release(store, partial(_replace_release, bad))
        wait_briefly(partial(_has_refusals, function, number + 1))
        reply = function.get("/recommend/1000")
        assert (reply.status, reply.headers["Marquee-Model-Version"]) == (200, good)
        assert reply.notes == "release-refused"
    for kind, refusal in zip(kinds, _refusals(function), strict=True):
        assert kind in refusal["reason"]
    assert b"marquee_recommend_release_refused 1\n" in function.get("/metrics").body
    better = release_model(store, two_group_model(mean=3.2), TRAINED_THROUGH + timedelta(days=30))
    wait_briefly(lambda: function.get("/recommend/1000").headers["Marquee-Model-Version"] == better)
    assert function.get("/recommend/1000").notes == ""


def test_recommend_release_of_a_newer_format_keeps_the_previous(store: FileStore, function: Function) -> None:
    """A running instance that is older than the format of the release goes on with what it has."""
    good = release_model(store)
    wait_briefly(lambda: function.get("/readyz").status == 200)
    document = msgspec.json.decode(store.get(CURRENT).data)
    newer = msgspec.json.encode({**document, "format": FORMAT + 1, "number": 2})
    store.replace(CURRENT, newer, store.get(CURRENT).version)
    wait_briefly(partial(_has_refusals, function, 1))
    reply = function.get("/recommend/1000")
    assert (reply.status, reply.headers["Marquee-Model-Version"], reply.notes) == (200, good, "release-refused")
    assert f"format {FORMAT + 1}" in _refusals(function)[0]["reason"]


def test_recommend_memory_of_replaced_models_is_freed(store: FileStore, function: Function) -> None:
    """After twelve more models, with requests in between, the process's own memory has grown by less than two
    models.
    """
    versions = [release_model(store, two_group_model(MOVIES))]
    versions.append(store_model(store, two_group_model(MOVIES, mean=3.5), TRAINED_THROUGH + timedelta(days=1)))

    def swap(number: int) -> float:
        promote(store, versions[number % 2], author="test")
        release = number + 1
        wait_briefly(lambda: function.get("/version").document["release"] == release)
        for user in range(40):
            assert function.get(f"/recommend/{1000 + user}").status == 200
        processes = psutil.Process(function.process.pid).children(recursive=True)
        return float(max(process.memory_full_info().uss for process in processes)) / 1e6

    wait_briefly(lambda: function.get("/readyz").status == 200)
    settled = [swap(number) for number in range(1, 5)][-1]
    after = [swap(number) for number in range(5, 5 + SWAPS)][-1]
    assert after - settled < 2 * MODEL_MB


def test_recommend_first_request_after_a_freeze_gets_the_newest_release(store: FileStore, function: Function) -> None:
    """The process has no processor between requests (SIGSTOP), as an idle instance of Cloud Run."""
    old = release_model(store)
    other = store_model(store, two_group_model(mean=3.5), TRAINED_THROUGH + timedelta(days=1))
    wait_until(lambda: function.get("/recommend/1000").status == 200)
    assert function.get("/recommend/1000").headers["Marquee-Model-Version"] == old
    processes = [*psutil.Process(function.process.pid).children(recursive=True)]
    for version in (other, old, other):
        for process in processes:
            process.suspend()
        promote(store, version, author="test")
        time.sleep(1)
        for process in processes:
            process.resume()
        reply = function.get("/recommend/1000")
        assert (reply.status, reply.headers["Marquee-Model-Version"]) == (200, version)
