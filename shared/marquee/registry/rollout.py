"""Changes of the release: promote, canary, split and roll back. Each is one write of one document."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec

from marquee.errors import ArtifactRefused, ObjectNotFound, ReleaseError
from marquee.registry.arm_assignment import Arm, choose_salt
from marquee.registry.artifact import verify_artifact
from marquee.registry.object_store.object_store import ObjectStore
from marquee.registry.release import Release, new_release, publish_release, read_current_release, read_release

CONTROL, CANARY = "control", "canary"


def promote(store: ObjectStore, version: str, *, author: str, reason: str = "") -> Release:
    """Serve ``version`` to all users; do nothing if that is already so.

    Raises :class:`ReleaseError` if there is no such artifact, ``ArtifactRefused`` if it must not serve.
    """
    return split(store, {CONTROL: (version, 1.0)}, author=author, reason=reason)


def canary(store: ObjectStore, version: str, *, weight: float, author: str, reason: str = "") -> Release:
    """Serve ``version`` to the fraction ``weight`` of the users, and the current version to the others.

    A second call with a larger weight keeps the users who have the canary already.
    """
    if not 0 < weight < 1:
        raise ReleaseError(f"the weight of a canary must lie between 0 and 1; got {weight}")
    _verify_or_refuse(store, version)

    def change(before: Release | None) -> Release:
        if before is None:
            raise ReleaseError("there is no release to compare a canary with: promote a version first")
        arms = (Arm(CONTROL, before.arms[0].version, 1 - weight), Arm(CANARY, version, weight))
        return _replace_arms(before, arms, author, reason)

    return publish_release(store, change)


def split(store: ObjectStore, arms: Mapping[str, tuple[str, float]], *, author: str, reason: str = "") -> Release:
    """Serve several versions side by side: ``arms`` maps the name of an arm to its version and weight."""
    for version in {v for v, _ in arms.values()}:
        _verify_or_refuse(store, version)
    new_arms = tuple(Arm(name, version, weight) for name, (version, weight) in arms.items())
    return publish_release(store, lambda before: _replace_arms(before, new_arms, author, reason))


def rollback(store: ObjectStore, *, author: str, reason: str = "", to: int | None = None) -> Release:
    """Restore the arms of the previous release, or of release ``to``. Repeated calls go further back.

    Automatic releases are paused until :func:`resume`. Users get the arms that they had then. Raises
    :class:`ReleaseError` if there is no such release, ``ArtifactRefused`` if one of its artifacts must not serve
    any more.
    """

    def change(before: Release | None) -> Release:
        target = _find_target(store, before, to)
        if target is before:
            return before  # Its document is whole; publishing makes it current.
        for arm in target.arms:
            _verify_or_refuse(store, arm.version)
        restored = new_release(
            target.arms, author=author, reason=reason or f"rolled back to {target.number}", salt=target.salt
        )
        return msgspec.structs.replace(
            restored, previous=target.previous, restores=target.number, manifests=target.manifests
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
        if before is None:
            raise ReleaseError("there is no release yet: promote a version first")
        if not before.paused:
            return before
        return msgspec.structs.replace(
            before,
            created=datetime.now(UTC),
            author=author,
            reason=reason or "automatic releases resumed",
            restores=None,
            paused=False,
        )

    return publish_release(store, change)


def _replace_arms(before: Release | None, arms: tuple[Arm, ...], author: str, reason: str) -> Release:
    if before and before.arms == arms:
        return before
    salt = choose_salt(arms, before.arms, before.salt) if before else None
    return new_release(arms, author=author, reason=reason, salt=salt, after=before)


def _find_target(store: ObjectStore, before: Release | None, to: int | None) -> Release:
    if before is None:
        raise ReleaseError("there is no release yet: promote a version first")
    if to == before.number:
        if _is_current(store, to):
            raise ReleaseError(f"release {to} is the current one")
        return before
    number = before.previous if to is None else to
    if number is None:
        raise ReleaseError(f"release {before.number} has no previous release to roll back to")
    return read_release(store, number)


def _is_current(store: ObjectStore, number: int) -> bool:
    try:
        return read_current_release(store)[0].number == number
    except (ObjectNotFound, ReleaseError):
        return False


def _verify_or_refuse(store: ObjectStore, version: str) -> None:
    try:
        verify_artifact(store, version)
    except ObjectNotFound as error:
        raise ReleaseError(f"there is no artifact {version!r}; see `marquee release list`") from error
    except ArtifactRefused as error:
        raise ArtifactRefused(f"{version} was not released: {error}") from error
