"""Releases that must not serve, and many that may, as one running process of ``recommend`` meets them."""

from __future__ import annotations

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
from tests.serving.models import TRAINED_THROUGH, released, two_tastes, written
from tests.support.waiting import wait_until

from marquee.registry.arm_assignment import Arm
from marquee.registry.manifest import object_name
from marquee.registry.object_store.file_store import FileStore
from marquee.registry.release import new_release, publish_release
from marquee.registry.rollout import promote

pytestmark = pytest.mark.servers

MOVIES = 20_000
SWAPS = 12
A_MODEL_MB = 2.5
"""Less than what a model of so many movies takes of the process's own memory: 2.8, seen with a leak put in."""


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


once = partial(wait_until, timeout_s=30)


def _refusals(function: Function) -> list[dict[str, Any]]:
    return msgspec.convert(function.get("/version").document["refusals"], list[dict[str, Any]])


def _damages(store: FileStore, version: str) -> dict[str, Callable[[], None]]:
    """What is wrong with an artifact, by the word of the refusal that tells of it."""
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


def test_whatever_is_wrong_with_an_artifact_the_one_before_serves_on(
    store: FileStore, function: Function
) -> None:
    """A wrong hash, a file cut short, numbers that are none, another shape, answers that are not those of its
    maker, a format of the future: each is reported by /version with the reason, and no request fails."""
    good = released(store)
    once(lambda: function.get("/readyz").status == 200)
    kinds = list(_damages(store, good))
    for number, kind in enumerate(kinds):
        bad = written(store, two_tastes(mean=3.5), TRAINED_THROUGH + timedelta(days=1 + number))
        _damages(store, bad)[kind]()
        arms = (Arm("control", bad, 1.0),)
        publish_release(
            store, lambda before, arms=arms: new_release(arms, author="test", reason="", after=before)
        )
        once(lambda number=number: len(_refusals(function)) == number + 1)
        reply = function.get("/recommend/1000")
        assert (reply.status, reply.headers["Marquee-Model-Version"]) == (200, good)
        assert reply.notes == "release-refused"
    for kind, refusal in zip(kinds, _refusals(function), strict=True):
        assert kind in refusal["reason"]
    assert b"marquee_recommend_release_refused 1\n" in function.get("/metrics").body
    better = released(store, two_tastes(mean=3.2), TRAINED_THROUGH + timedelta(days=30))
    once(lambda: function.get("/recommend/1000").headers["Marquee-Model-Version"] == better)
    assert function.get("/recommend/1000").notes == ""


def test_the_memory_of_models_that_serve_no_more_comes_back(store: FileStore, function: Function) -> None:
    """Of twelve more models that followed each other, with requests in between, not even two are left in the
    memory that is the process's own."""
    versions = [released(store, two_tastes(MOVIES))]
    versions.append(written(store, two_tastes(MOVIES, mean=3.5), TRAINED_THROUGH + timedelta(days=1)))

    def swap(number: int) -> float:
        promote(store, versions[number % 2], author="test")
        release = number + 1
        once(lambda: function.get("/version").document["release"] == release)
        for user in range(40):
            assert function.get(f"/recommend/{1000 + user}").status == 200
        processes = psutil.Process(function.process.pid).children(recursive=True)
        return float(max(process.memory_full_info().uss for process in processes)) / 1e6

    once(lambda: function.get("/readyz").status == 200)
    settled = [swap(number) for number in range(1, 5)][-1]
    after = [swap(number) for number in range(5, 5 + SWAPS)][-1]
    assert after - settled < 2 * A_MODEL_MB
