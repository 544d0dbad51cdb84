"""What is done to a release: promote, split into arms, roll back. Each is one write of one document."""

from __future__ import annotations

from collections.abc import Mapping

from marquee.errors import ArtifactRefused, ObjectNotFound, ReleaseError
from marquee.registry.artifact import verify
from marquee.registry.object_store.object_store import ObjectStore
from marquee.registry.release import Arm, Release, new_release, publish_release, read_release

CONTROL, CANARY = "control", "canary"


def promote(store: ObjectStore, version: str, *, author: str, reason: str = "") -> Release:
    """Serve ``version`` to everybody; nothing changes if that is so already.

    Raises :class:`ReleaseError` if there is no such artifact, ``ArtifactRefused`` if it must not serve.
    """
    return split(store, {CONTROL: (version, 1.0)}, author=author, reason=reason)


def canary(store: ObjectStore, version: str, *, weight: float, author: str, reason: str = "") -> Release:
    """Serve ``version`` to the share ``weight`` of the users, and what serves now to the others.

    With another weight, the users who have the canary keep it as long as the weight grows.
    """
    if not 0 < weight < 1:
        raise ReleaseError(f"a canary's weight should lie between 0 and 1, not be {weight}")
    _verified(store, version)

    def change(before: Release | None) -> Release:
        if before is None:
            raise ReleaseError("there is no release to compare a canary with: promote a version first")
        arms = (Arm(CONTROL, before.arms[0].version, 1 - weight), Arm(CANARY, version, weight))
        return _after(before, arms, author, reason)

    return publish_release(store, change)


def split(
    store: ObjectStore, arms: Mapping[str, tuple[str, float]], *, author: str, reason: str = ""
) -> Release:
    """Serve several versions side by side: ``arms`` maps a name to a version and a weight."""
    for version in {v for v, _ in arms.values()}:
        _verified(store, version)
    wanted = tuple(Arm(name, version, weight) for name, (version, weight) in arms.items())
    return publish_release(store, lambda before: _after(before, wanted, author, reason))


def rollback(store: ObjectStore, *, author: str, reason: str = "", to: int | None = None) -> Release:
    """Bring back the arms of the release before, or of release ``to``; again and again goes further back.

    Users get the arms they had then. Raises :class:`ReleaseError` if there is nothing to go back to,
    ``ArtifactRefused`` if what was served then cannot be served any more.
    """

    def change(before: Release | None) -> Release:
        target = _target(store, before, to)
        for arm in target.arms:
            _verified(store, arm.version)
        restored = new_release(
            target.arms, author=author, reason=reason or f"rolled back to {target.number}", salt=target.salt
        )
        return _with_history(restored, target)

    return publish_release(store, change)


def _after(before: Release | None, arms: tuple[Arm, ...], author: str, reason: str) -> Release:
    if before and before.arms == arms:
        return before
    same = before is not None and _sides(before.arms) == _sides(arms)
    return new_release(
        arms, author=author, reason=reason, salt=before.salt if before and same else None, after=before
    )


def _sides(arms: tuple[Arm, ...]) -> list[tuple[str, str]]:
    return [(arm.name, arm.version) for arm in arms]


def _with_history(restored: Release, target: Release) -> Release:
    from msgspec.structs import replace

    return replace(restored, previous=target.previous, restores=target.number)


def _target(store: ObjectStore, before: Release | None, to: int | None) -> Release:
    if before is None:
        raise ReleaseError("there is no release yet: promote a version first")
    if to == before.number:
        raise ReleaseError(f"release {to} is the one that serves")
    number = before.previous if to is None else to
    if number is None:
        raise ReleaseError(f"release {before.number} has none before it to go back to")
    return read_release(store, number)


def _verified(store: ObjectStore, version: str) -> None:
    try:
        verify(store, version)
    except ObjectNotFound as error:
        raise ReleaseError(f"there is no artifact {version!r}; see `marquee release list`") from error
    except ArtifactRefused as error:
        raise ArtifactRefused(f"{version} was not released: {error}") from error
