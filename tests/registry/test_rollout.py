"""Tests of promotion, canaries, splits and rollbacks."""

from __future__ import annotations

from functools import partial

import pytest
from tests.registry.models import AUTHOR, forge, make_model, overwrite, store_model

from marquee.errors import ArtifactRefused, ReleaseError
from marquee.registry.arm_assignment import Arm, assign_arm
from marquee.registry.experiment_steps import end_experiment, hold_experiment, replace_versions, start_experiment
from marquee.registry.object_store.object_store import ObjectStore
from marquee.registry.release import Release, iter_releases, new_release, publish_release, read_current_release
from marquee.registry.rollout import canary, promote, rollback, split


@pytest.fixture
def versions(file_store: ObjectStore) -> list[str]:
    """Four artifacts that may serve."""
    return [store_model(file_store, make_model(seed=seed)) for seed in range(4)]


def _current_versions(store: ObjectStore) -> list[str]:
    return [arm.version for arm in read_current_release(store)[0].arms]


def test_promote_serves_one_version_to_all_users(file_store: ObjectStore, versions: list[str]) -> None:
    """One arm of weight 1; a second call changes nothing."""
    promote(file_store, versions[0], author="ann", reason="first")
    published = promote(file_store, versions[1], author="bob", reason="better")
    assert (published.number, published.author, published.reason) == (2, "bob", "better")
    assert published.arms == (Arm("control", versions[1], 1.0),)
    assert promote(file_store, versions[1], **AUTHOR) == published
    assert read_current_release(file_store)[0].number == 2


def test_promote_missing_artifact_is_refused(file_store: ObjectStore, versions: list[str]) -> None:
    """The error names the version; the current release stays."""
    promote(file_store, versions[0], **AUTHOR)
    for wrong in ("no-such-version", "20200101T000000-12345678"):
        with pytest.raises(ReleaseError, match=f"no artifact '{wrong}'"):
            promote(file_store, wrong, **AUTHOR)
    assert _current_versions(file_store) == versions[:1]


def test_promote_damaged_artifact_is_refused(file_store: ObjectStore, versions: list[str]) -> None:
    """A wrong hash, a wrong manifest or wrong predictions."""
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


def test_canary_larger_weight_keeps_the_salt(file_store: ObjectStore, versions: list[str]) -> None:
    """The canary gets its fraction of the users; another version is another experiment with a new salt."""
    with pytest.raises(ReleaseError, match="promote a version first"):
        canary(file_store, versions[1], weight=0.1, **AUTHOR)
    promote(file_store, versions[0], **AUTHOR)
    first = canary(file_store, versions[1], weight=0.1, **AUTHOR)
    assert first.arms == (Arm("control", versions[0], 0.5), Arm("canary", versions[1], 0.5))
    assert first.enrolled == 0.2
    more = canary(file_store, versions[1], weight=0.3, **AUTHOR)
    assert (more.arms, more.enrolled) == (first.arms, 0.6)
    assert (more.salt, more.experiment) == (first.salt, first.experiment)
    with pytest.raises(ReleaseError, match="may only grow"):
        canary(file_store, versions[1], weight=0.1, **AUTHOR)
    another = canary(file_store, versions[2], weight=0.3, **AUTHOR)
    assert another.salt != first.salt
    assert promote(file_store, versions[1], **AUTHOR).arms == (Arm("control", versions[1], 1.0),)


def test_split_other_weights_deal_all_users_again(file_store: ObjectStore, versions: list[str]) -> None:
    """Within one salt .8/.1/.1 -> .6/.2/.2 would move every user of the second arm into the third."""
    arms = dict(zip("abc", versions, strict=False))
    first = split(file_store, {n: (v, w) for (n, v), w in zip(arms.items(), (0.8, 0.1, 0.1), strict=True)}, **AUTHOR)
    second = split(file_store, {n: (v, w) for (n, v), w in zip(arms.items(), (0.6, 0.2, 0.2), strict=True)}, **AUTHOR)
    assert second.salt != first.salt
    assert second.experiment != first.experiment


@pytest.mark.parametrize("weight", [0, 1, 0.6, -0.1, 1.1, float("nan"), float("inf")])
def test_canary_weight_outside_0_to_1_is_refused(file_store: ObjectStore, versions: list[str], weight: float) -> None:
    """Neither none nor all of the users are a canary."""
    promote(file_store, versions[0], **AUTHOR)
    with pytest.raises(ReleaseError, match="between 0 and 1"):
        canary(file_store, versions[1], weight=weight, **AUTHOR)


def test_split_serves_all_arms(file_store: ObjectStore, versions: list[str]) -> None:
    """An A/B/C test; the weights are checked."""
    a, b, c, _ = versions
    published = split(file_store, {"a": (a, 0.5), "b": (b, 0.25), "c": (c, 0.25)}, **AUTHOR)
    assert [arm.name for arm in published.arms] == ["a", "b", "c"]
    with pytest.raises(ReleaseError, match="sum to 1"):
        split(file_store, {"a": (a, 0.5), "b": (b, 0.4)}, **AUTHOR)


def test_rollback_repeated_goes_back_to_the_first_release(file_store: ObjectStore, versions: list[str]) -> None:
    """Each rollback is a release of its own that goes one release further back."""
    for version in versions:
        promote(file_store, version, **AUTHOR)
    for expected in (versions[2], versions[1], versions[0]):
        rollback(file_store, **AUTHOR)
        assert _current_versions(file_store) == [expected]
    with pytest.raises(ReleaseError, match="no previous release"):
        rollback(file_store, **AUTHOR)
    newest = read_current_release(file_store)[0]
    assert (newest.number, newest.restores, newest.reason) == (7, 1, "rolled back to 1")


def test_rollback_after_promotion_skips_rolled_back_releases(file_store: ObjectStore, versions: list[str]) -> None:
    """A release that was rolled back is not restored; the ones that served before it are."""
    for version in versions[:3]:
        promote(file_store, version, **AUTHOR)
    rollback(file_store, **AUTHOR)
    promote(file_store, versions[3], **AUTHOR)
    for expected in (versions[1], versions[0]):
        rollback(file_store, **AUTHOR)
        assert _current_versions(file_store) == [expected]


def test_rollback_to_a_number_restores_that_release(file_store: ObjectStore, versions: list[str]) -> None:
    """Any past release may be restored, also a later one."""
    for version in versions[:3]:
        promote(file_store, version, **AUTHOR)
    rollback(file_store, to=1, **AUTHOR)
    assert _current_versions(file_store) == [versions[0]]
    rollback(file_store, to=3, **AUTHOR)
    assert _current_versions(file_store) == [versions[2]]
    rollback(file_store, **AUTHOR)
    assert _current_versions(file_store) == [versions[1]]
    for wrong, why in ((99, "no release 99"), (6, "the current one")):
        with pytest.raises(ReleaseError, match=why):
            rollback(file_store, to=wrong, **AUTHOR)


def test_rollback_to_an_experiment_restores_each_users_arm(file_store: ObjectStore, versions: list[str]) -> None:
    """Each user gets the arm they had."""
    promote(file_store, versions[0], **AUTHOR)
    experiment = canary(file_store, versions[1], weight=0.5, **AUTHOR)
    promote(file_store, versions[1], **AUTHOR)
    again = rollback(file_store, **AUTHOR)
    assert [assign_arm(again.arms, again.salt, str(n)) for n in range(99)] == [
        assign_arm(experiment.arms, experiment.salt, str(n)) for n in range(99)
    ]
    rollback(file_store, **AUTHOR)
    assert _current_versions(file_store) == [versions[0]]


def test_rollback_after_a_ramp_restores_what_served_before(file_store: ObjectStore, versions: list[str]) -> None:
    """Canary 10 % -> 50 %: one rollback serves control to all, not the canary of 10 %."""
    promote(file_store, versions[0], **AUTHOR)
    for weight in (0.1, 0.2, 0.5):
        canary(file_store, versions[1], weight=weight, **AUTHOR)
    assert rollback(file_store, **AUTHOR).arms == (Arm("control", versions[0], 1.0),)
    with pytest.raises(ReleaseError, match="no previous release"):
        rollback(file_store, **AUTHOR)


def test_rollback_from_the_middle_of_a_ramp_restores_control(file_store: ObjectStore, versions: list[str]) -> None:
    """Also after ``rollback --to`` a step of the ramp, which then is held."""
    promote(file_store, versions[0], **AUTHOR)
    for weight in (0.01, 0.1):
        canary(file_store, versions[1], weight=weight, **AUTHOR)
    assert rollback(file_store, **AUTHOR).arms == (Arm("control", versions[0], 1.0),)
    again = rollback(file_store, to=3, **AUTHOR)
    assert (again.enrolled, again.on_hold, len(again.arms)) == (0.2, True, 2)
    assert rollback(file_store, **AUTHOR).arms == (Arm("control", versions[0], 1.0),)


def test_rollback_after_a_ramp_of_format_1_restores_control(file_store: ObjectStore, versions: list[str]) -> None:
    """An older program's ramp has one salt, other weights, and each step as the previous release of the next."""
    promote(file_store, versions[0], **AUTHOR)
    for weight in (0.1, 0.5):
        arms = (Arm("control", versions[0], 1 - weight), Arm("canary", versions[1], weight))
        publish_release(file_store, partial(_new_step, arms))
    assert rollback(file_store, **AUTHOR).arms == (Arm("control", versions[0], 1.0),)


def _new_step(arms: tuple[Arm, ...], before: Release | None) -> Release:
    return new_release(arms, author="old", reason="", salt="same", after=before)


def test_rollback_to_unusable_artifact_is_refused(file_store: ObjectStore, versions: list[str]) -> None:
    """A deleted or damaged artifact cannot be restored; the current release stays."""
    for version in versions[:3]:
        promote(file_store, version, **AUTHOR)
    overwrite(file_store, versions[1], "item_biases.npy", b"")
    with pytest.raises(ArtifactRefused, match="was not released"):
        rollback(file_store, **AUTHOR)
    for name in list(file_store.list(f"models/{versions[0]}/")):
        file_store.delete(name)
    with pytest.raises(ReleaseError, match="no artifact"):
        rollback(file_store, to=1, **AUTHOR)
    assert _current_versions(file_store) == [versions[2]]


def test_rollback_before_the_first_release_is_refused(file_store: ObjectStore) -> None:
    """There is nothing to return from."""
    with pytest.raises(ReleaseError, match="no release yet"):
        rollback(file_store, **AUTHOR)


def test_rollout_works_on_every_store(store: ObjectStore) -> None:
    """Promote, canary and rollback, from artifacts in the same store."""
    one, other = store_model(store), store_model(store, make_model(seed=1))
    promote(store, one, **AUTHOR)
    canary(store, other, weight=0.25, **AUTHOR)
    rollback(store, **AUTHOR)
    assert _current_versions(store) == [one]
    assert [r.restores for r in iter_releases(store)] == [1, None, None]


def test_replace_versions_on_hold_replaced_or_ended_meanwhile_is_refused(
    file_store: ObjectStore, versions: list[str]
) -> None:
    """A nightly retraining replaces the models that it was compared with, of an experiment that still runs."""
    promote(file_store, versions[0], **AUTHOR)
    arms = (Arm("control", versions[0], 0.5), Arm("other", versions[1], 0.5))
    running = start_experiment(file_store, "recipes", arms, enrolled=0.2, **AUTHOR)
    new = {"control": versions[2], "other": versions[3]}
    hold_experiment(file_store, "recipes", on_hold=True, **AUTHOR)
    with pytest.raises(ReleaseError, match="on hold"):
        replace_versions(file_store, running, new, **AUTHOR, reason="nightly")
    hold_experiment(file_store, "recipes", on_hold=False, **AUTHOR)
    replaced = replace_versions(file_store, running, new, **AUTHOR, reason="nightly")
    assert ([arm.version for arm in replaced.arms], replaced.salt) == (versions[2:], running.salt)
    assert (replaced.enrolled, replaced.previous, replaced.experiment) == (0.2, 1, "recipes")
    with pytest.raises(ReleaseError, match="replaced meanwhile"):
        replace_versions(file_store, running, new, **AUTHOR, reason="nightly")
    with pytest.raises(ReleaseError, match="no artifact"):
        replace_versions(file_store, replaced, {**new, "other": "none"}, **AUTHOR, reason="nightly")
    end_experiment(file_store, "recipes", keep="other", **AUTHOR)
    with pytest.raises(ReleaseError, match="does not run"):
        replace_versions(file_store, replaced, new, **AUTHOR, reason="nightly")
    assert _current_versions(file_store) == [versions[3]]
