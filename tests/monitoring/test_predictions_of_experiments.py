"""The arm of a prediction is that of the experiment that ran when the rating came in."""

from __future__ import annotations

import msgspec
import pytest
from tests.monitoring.live_stream import LiveStream, at, follow, read_predictions
from tests.serving.models import store_model, two_group_model

from marquee.db.pool import Database
from marquee.registry.arm_assignment import Arm
from marquee.registry.object_store.file_store import FileStore
from marquee.registry.release import Release, new_release, publish_release

pytestmark = pytest.mark.servers


def _start(store: FileStore, hours: float, name: str, *versions: str) -> Release:
    """Publish an experiment of control and canary at ``at(hours)``."""
    arms = tuple(Arm(arm, version, 0.5) for arm, version in zip(("control", "canary"), versions, strict=True))

    def change(before: Release | None) -> Release:
        release = new_release(arms, author="test", reason="", salt=name, after=before)
        return msgspec.structs.replace(release, format=2, experiment=name, created=at(hours))

    return publish_release(store, change)


def test_follow_list_of_an_ended_experiment_does_not_give_the_arm(
    database: Database, store: FileStore, stream: LiveStream
) -> None:
    """A list of yesterday's canary is no evidence about today's, also if both arms are called canary."""
    old, new = store_model(store), store_model(store, two_group_model(mean=2.5))
    _start(store, 0, "first", old, new)
    second = _start(store, 2, "second", old, new)
    user = next(u for u in range(5_000, 6_000) if second.assign(str(u)).name == "control")
    stream.show(0.5, user, new, {20: 4.9, 22: 4.9}, arm="canary")
    stream.rate(1, user, 22, 4)
    stream.rate(3, user, 20, 4)
    follow(database, store)
    before, after = read_predictions(database)
    assert before[2:5] == (new, "canary", "impression")
    assert after[2:5] == (old, "control", "computed")
