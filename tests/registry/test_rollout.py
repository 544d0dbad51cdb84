"""Promotion, canaries and splits of what may serve, and rollbacks at will."""

from __future__ import annotations

import pytest
from tests.registry.models import AUTHOR, forge, made_model, overwrite, stored

from marquee.errors import ArtifactRefused, ReleaseError
from marquee.registry.arm_assignment import Arm, assign_arm
from marquee.registry.object_store.object_store import ObjectStore
from marquee.registry.release import iter_releases, read_current_release
from marquee.registry.rollout import canary, promote, rollback, split


@pytest.fixture
def versions(file_store: ObjectStore) -> list[str]:
    """Four artifacts that may serve."""
    return [stored(file_store, made_model(seed=seed)) for seed in range(4)]


def _serves(store: ObjectStore) -> list[str]:
    return [arm.version for arm in read_current_release(store)[0].arms]


def test_promote_serves_to_everybody(file_store: ObjectStore, versions: list[str]) -> None:
    """One arm of weight 1; doing it again changes nothing."""
    promote(file_store, versions[0], author="ann", reason="first")
    published = promote(file_store, versions[1], author="bob", reason="better")
    assert (published.number, published.author, published.reason) == (2, "bob", "better")
    assert published.arms == (Arm("control", versions[1], 1.0),)
    assert promote(file_store, versions[1], **AUTHOR) == published
    assert read_current_release(file_store)[0].number == 2


def test_promote_of_what_is_not_there_is_refused(file_store: ObjectStore, versions: list[str]) -> None:
    """The error names the version; what serves stays."""
    promote(file_store, versions[0], **AUTHOR)
    for wrong in ("no-such-version", "20200101T000000-12345678"):
        with pytest.raises(ReleaseError, match=f"no artifact '{wrong}'"):
            promote(file_store, wrong, **AUTHOR)
    assert _serves(file_store) == versions[:1]


def test_promote_of_a_damaged_artifact_is_refused(file_store: ObjectStore, versions: list[str]) -> None:
    """A wrong hash, a wrong manifest or wrong answers: none of them is released."""
    promote(file_store, versions[0], **AUTHOR)
    overwrite(file_store, versions[1], "popularity.npy", b"other")
    overwrite(file_store, versions[2], "manifest.json", b"{}")
    other = file_store.get(f"models/{versions[0]}/rank_items.npy").data
    forge(file_store, versions[3], "rank_items.npy", other)
    for version in versions[1:]:
        with pytest.raises(ArtifactRefused, match="was not released"):
            promote(file_store, version, **AUTHOR)
        with pytest.raises(ArtifactRefused, match="was not released"):
            canary(file_store, version, weight=0.1, **AUTHOR)
    assert read_current_release(file_store)[0].number == 1


def test_canary(file_store: ObjectStore, versions: list[str]) -> None:
    """A share of the users gets the new version; raising the share keeps the experiment's salt."""
    with pytest.raises(ReleaseError, match="promote a version first"):
        canary(file_store, versions[1], weight=0.1, **AUTHOR)
    promote(file_store, versions[0], **AUTHOR)
    first = canary(file_store, versions[1], weight=0.1, **AUTHOR)
    assert first.arms == (Arm("control", versions[0], 0.9), Arm("canary", versions[1], 0.1))
    more = canary(file_store, versions[1], weight=0.3, **AUTHOR)
    assert more.arms == (Arm("control", versions[0], 0.7), Arm("canary", versions[1], 0.3))
    assert more.salt == first.salt
    another = canary(file_store, versions[2], weight=0.3, **AUTHOR)
    assert another.salt != first.salt
    assert promote(file_store, versions[1], **AUTHOR).arms == (Arm("control", versions[1], 1.0),)


@pytest.mark.parametrize("weight", [0, 1, -0.1, 1.1, float("nan"), float("inf")])
def test_a_canary_needs_a_share(file_store: ObjectStore, versions: list[str], weight: float) -> None:
    """Nothing and everything are no canaries."""
    promote(file_store, versions[0], **AUTHOR)
    with pytest.raises(ReleaseError, match="between 0 and 1"):
        canary(file_store, versions[1], weight=weight, **AUTHOR)


def test_split_into_any_arms(file_store: ObjectStore, versions: list[str]) -> None:
    """An A/B/C test; its weights are checked."""
    a, b, c, _ = versions
    published = split(file_store, {"a": (a, 0.5), "b": (b, 0.25), "c": (c, 0.25)}, **AUTHOR)
    assert [arm.name for arm in published.arms] == ["a", "b", "c"]
    with pytest.raises(ReleaseError, match="sum to 1"):
        split(file_store, {"a": (a, 0.5), "b": (b, 0.4)}, **AUTHOR)


def test_rollback_goes_back_step_by_step(file_store: ObjectStore, versions: list[str]) -> None:
    """Each rollback is a release of its own that goes one release further back, to the first."""
    for version in versions:
        promote(file_store, version, **AUTHOR)
    for expected in (versions[2], versions[1], versions[0]):
        rollback(file_store, **AUTHOR)
        assert _serves(file_store) == [expected]
    with pytest.raises(ReleaseError, match="no previous release"):
        rollback(file_store, **AUTHOR)
    newest = read_current_release(file_store)[0]
    assert (newest.number, newest.restores, newest.reason) == (7, 1, "rolled back to 1")


def test_rollback_after_a_rollback_and_a_promotion(file_store: ObjectStore, versions: list[str]) -> None:
    """What was rolled back is not gone back to; what served then is."""
    for version in versions[:3]:
        promote(file_store, version, **AUTHOR)
    rollback(file_store, **AUTHOR)
    promote(file_store, versions[3], **AUTHOR)
    for expected in (versions[1], versions[0]):
        rollback(file_store, **AUTHOR)
        assert _serves(file_store) == [expected]


def test_rollback_to_a_number(file_store: ObjectStore, versions: list[str]) -> None:
    """Any release of the past may serve again, forwards too."""
    for version in versions[:3]:
        promote(file_store, version, **AUTHOR)
    rollback(file_store, to=1, **AUTHOR)
    assert _serves(file_store) == [versions[0]]
    rollback(file_store, to=3, **AUTHOR)
    assert _serves(file_store) == [versions[2]]
    rollback(file_store, **AUTHOR)
    assert _serves(file_store) == [versions[1]]
    for wrong, why in ((99, "no release 99"), (6, "the current one")):
        with pytest.raises(ReleaseError, match=why):
            rollback(file_store, to=wrong, **AUTHOR)


def test_rollback_of_a_canary_restores_everybody(file_store: ObjectStore, versions: list[str]) -> None:
    """And going back to an experiment gives each user the arm he had."""
    promote(file_store, versions[0], **AUTHOR)
    experiment = canary(file_store, versions[1], weight=0.5, **AUTHOR)
    promote(file_store, versions[1], **AUTHOR)
    again = rollback(file_store, **AUTHOR)
    assert [assign_arm(again.arms, again.salt, str(n)) for n in range(99)] == [
        assign_arm(experiment.arms, experiment.salt, str(n)) for n in range(99)
    ]
    rollback(file_store, **AUTHOR)
    assert _serves(file_store) == [versions[0]]


def test_rollback_to_what_is_lost_is_refused(file_store: ObjectStore, versions: list[str]) -> None:
    """An artifact that was deleted or damaged since cannot be brought back; what serves stays."""
    for version in versions[:3]:
        promote(file_store, version, **AUTHOR)
    overwrite(file_store, versions[1], "item_biases.npy", b"")
    with pytest.raises(ArtifactRefused, match="was not released"):
        rollback(file_store, **AUTHOR)
    for name in list(file_store.list(f"models/{versions[0]}/")):
        file_store.delete(name)
    with pytest.raises(ReleaseError, match="no artifact"):
        rollback(file_store, to=1, **AUTHOR)
    assert _serves(file_store) == [versions[2]]


def test_rollback_before_the_first_release(file_store: ObjectStore) -> None:
    """There is nothing to go back from."""
    with pytest.raises(ReleaseError, match="no release yet"):
        rollback(file_store, **AUTHOR)


def test_a_release_on_every_store(store: ObjectStore) -> None:
    """Promote, canary and rollback on each kind of store, from artifacts kept there."""
    one, other = stored(store), stored(store, made_model(seed=1))
    promote(store, one, **AUTHOR)
    canary(store, other, weight=0.25, **AUTHOR)
    rollback(store, **AUTHOR)
    assert _serves(store) == [one]
    assert [r.restores for r in iter_releases(store)] == [1, None, None]
