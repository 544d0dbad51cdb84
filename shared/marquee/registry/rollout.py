"""Changes of the release by a person: promote, canary, split, roll back and repair; each is one write."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from marquee.errors import ArtifactRefused, ObjectNotFound, ReleaseError
from marquee.registry.arm_assignment import Arm, inherit_policies
from marquee.registry.artifact import verify_artifact
from marquee.registry.object_store.object_store import ObjectStore
from marquee.registry.release import (
    Release,
    iter_whole_releases,
    new_release,
    publish_release,
    read_current_release,
    read_release,
    require_release,
    swap_in,
)
from marquee.registry.release_rules import is_same_experiment

CONTROL, CANARY = "control", "canary"


def promote(store: ObjectStore, version: str, *, author: str, reason: str = "") -> Release:
    """Serve ``version`` to all users; do nothing if that is already so.

    Raises :class:`ReleaseError` if there is no such artifact, ``ArtifactRefused`` if it must not serve.
    """
    return split(store, {CONTROL: (version, 1.0)}, author=author, reason=reason)


def canary(store: ObjectStore, version: str, *, weight: float, author: str, reason: str = "") -> Release:
    """Serve ``version`` to the fraction ``weight`` of the users, and the current version to the others.

    As many users are the control arm, so ``weight`` is at most a half. A second call with a larger weight keeps the
    users who have the canary already; a smaller one is refused.
    """
    if not 0 < weight <= 0.5:
        raise ReleaseError(
            f"the weight of a canary must lie between 0 and 1, and be at most 0.5, since as many users are its "
            f"control arm; got {weight}"
        )
    verify_or_refuse(store, version)

    def change(before: Release | None) -> Release:
        before = require_release(before)
        first = before.arms[0]
        arms = (Arm(CONTROL, first.version, 0.5, first.policy), Arm(CANARY, version, 0.5, first.policy))
        return _enrol(before, arms, 2 * weight, author, reason)

    return publish_release(store, change)


def split(
    store: ObjectStore,
    arms: Mapping[str, tuple[str, float]],
    *,
    author: str,
    reason: str = "",
    enrolled: float = 1.0,
) -> Release:
    """Serve several versions side by side: ``arms`` maps the name of an arm to its version and weight.

    The fraction ``enrolled`` of the users takes part; the others get the first version. Other weights or names are
    another experiment, which deals all users again.
    """
    for version in {v for v, _ in arms.values()}:
        verify_or_refuse(store, version)
    plain_arms = tuple(Arm(name, version, weight) for name, (version, weight) in arms.items())

    def change(before: Release | None) -> Release:
        new_arms = inherit_policies(plain_arms, before.arms) if before else plain_arms
        if len(new_arms) > 1:
            return _enrol(before, new_arms, enrolled, author, reason)
        if before and before.arms == new_arms:
            return before
        return new_release(new_arms, author=author, reason=reason, after=before)

    return publish_release(store, change)


def rollback(store: ObjectStore, *, author: str, reason: str = "", to: int | None = None) -> Release:
    """Restore the arms of the previous release, or of release ``to``. Repeated calls go further back.

    Out of an experiment it goes to the release before the experiment, however many steps that had. An experiment that
    is restored is on hold: no automatic step follows. Automatic releases are paused until :func:`resume`. Users get the
    arms that they had then. Raises :class:`ReleaseError` if there is no such release, ``ArtifactRefused`` if one of
    its artifacts must not serve any more.
    """

    def change(before: Release | None) -> Release:
        target = _find_target(store, before, to)
        if target is before:
            return before  # Its document is whole; publishing makes it current.
        for arm in target.arms:
            verify_or_refuse(store, arm.version)
        restored = new_release(
            target.arms, author=author, reason=reason or f"rolled back to {target.number}", salt=target.salt
        )
        return msgspec.structs.replace(
            restored,
            previous=target.previous,
            restores=target.number,
            manifests=target.manifests,
            format=target.format,
            experiment=target.experiment,
            enrolled=target.enrolled,
            interleaved=target.interleaved,
            on_hold=bool(target.experiment),
        )

    def change_and_pause(before: Release | None) -> Release:
        changed = change(before)
        return changed if changed is before else msgspec.structs.replace(changed, paused=True)

    return publish_release(store, change_and_pause)


def resume(store: ObjectStore, *, author: str, reason: str = "") -> Release:
    """Allow automatic releases again after a rollback; does nothing if they are allowed.

    What serves does not change. Raises :class:`ReleaseError` before the first release.
    """

    def change(before: Release | None) -> Release:
        before = require_release(before)
        if not before.paused:
            return before
        reason_given = reason or "automatic releases resumed"
        return amend_release(before, author=author, reason=reason_given, evidence=before.evidence, paused=False)

    return publish_release(store, change)


def repair_current_release(store: ObjectStore) -> Release | None:
    """Restore ``current.json`` from the newest whole release and return that; None if it needs no repair.

    Raises :class:`ReleaseError` if no release is whole.
    """
    try:
        read_current_release(store)
        return None
    except (ObjectNotFound, ReleaseError):
        newest = next(iter_whole_releases(store), None)
    if newest is None:
        raise ReleaseError("no release is whole: `marquee release promote VERSION` publishes a new one")
    swap_in(store, newest)
    return newest


def amend_release(before: Release, *, author: str, reason: str, evidence: str = "", **changes: Any) -> Release:
    """Return ``before`` with other values of the fields ``changes``, to publish as the next release.

    Its salt, arms and experiment stay; it restores no earlier release.
    """
    step = {"created": datetime.now(UTC), "author": author, "reason": reason, "evidence": evidence, "restores": None}
    return msgspec.structs.replace(before, **(step | changes))


def _enrol(before: Release | None, arms: tuple[Arm, ...], enrolled: float, author: str, reason: str) -> Release:
    """Return a release with more users in the experiment that ``before`` runs with these arms, or a new experiment."""
    if before and before.arms == arms and before.enrolled == enrolled:
        return before
    changed = new_release(arms, author=author, reason=reason, after=before)
    name = f"by-hand-{changed.salt}"
    if before and before.experiment and before.arms == arms:
        changed = msgspec.structs.replace(changed, salt=before.salt, previous=before.previous, on_hold=before.on_hold)
        name = before.experiment
    return msgspec.structs.replace(changed, format=2, experiment=name, enrolled=enrolled)


def _find_target(store: ObjectStore, before: Release | None, to: int | None) -> Release:
    before = require_release(before)
    if to == before.number:
        if _is_current(store, to):
            raise ReleaseError(f"release {to} is the current one")
        return before
    if to is not None:
        return read_release(store, to)
    target = _find_previous(store, before)
    while is_same_experiment(target, before):  # Steps of a ramp by an older program.
        target = _find_previous(store, target)
    return target


def _find_previous(store: ObjectStore, release: Release) -> Release:
    if release.previous is None:
        raise ReleaseError(f"release {release.number} has no previous release to roll back to")
    return read_release(store, release.previous)


def _is_current(store: ObjectStore, number: int) -> bool:
    try:
        return read_current_release(store)[0].number == number
    except (ObjectNotFound, ReleaseError):
        return False


def verify_or_refuse(store: ObjectStore, version: str) -> None:
    """Verify an artifact. Raises :class:`ReleaseError` if there is none, ``ArtifactRefused`` if it must not serve."""
    try:
        verify_artifact(store, version)
    except ObjectNotFound as error:
        raise ReleaseError(f"there is no artifact {version!r}; see `marquee release list`") from error
    except ArtifactRefused as error:
        raise ArtifactRefused(f"{version} was not released: {error}") from error
