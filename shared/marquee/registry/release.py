"""The release: the one small document that names the artifacts in service, and the only one that changes.

``releases/<n>.json`` is written first, if absent, which decides the owner of number n. Then ``releases/current.json``
is replaced with the same bytes by compare-and-swap. A publisher that finds n written and ``current.json`` behind it
finishes that swap first. A publisher killed in between therefore needs no manual repair.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import msgspec

from marquee.errors import ObjectNotFound, PreconditionFailed, ReleaseError
from marquee.registry.arm_assignment import Arm, check_arms, new_salt
from marquee.registry.object_store.object_store import ObjectStore, Version

CURRENT = "releases/current.json"
FORMAT = 1
ATTEMPTS = 100


class Release(msgspec.Struct, frozen=True, kw_only=True):
    """The arms in service. Their weights sum to 1."""

    format: int = FORMAT
    number: int = 0  # Assigned by publish_release.
    created: datetime
    author: str
    reason: str
    salt: str  # Of the assignment of users to arms.
    arms: tuple[Arm, ...]
    previous: int | None = None  # Release that a rollback returns to.
    restores: int | None = None  # Release whose arms this rollback restored.


def new_release(
    arms: tuple[Arm, ...], *, author: str, reason: str, salt: str | None = None, after: Release | None = None
) -> Release:
    """Return a release to publish; it gets its number then. Without ``salt`` it gets a new one."""
    return Release(
        created=datetime.now(UTC),
        author=author,
        reason=reason,
        salt=salt or new_salt(),
        arms=arms,
        previous=after.number if after else None,
    )


def read_current_release(store: ObjectStore) -> tuple[Release, Version]:
    """Return the current release and the version of its document.

    Raises ``ObjectNotFound`` before the first release, :class:`ReleaseError` if the document is invalid.
    """
    document = store.get(CURRENT)
    return decode_release(document.data, CURRENT), document.version


def read_if_changed(store: ObjectStore, since: Version) -> tuple[Release, Version] | None:
    """Return the current release, or None if its document still has version ``since``: the cheap call for polling."""
    document = store.get(CURRENT, if_changed_from=since)
    return None if document is None else (decode_release(document.data, CURRENT), document.version)


def read_release(store: ObjectStore, number: int) -> Release:
    """Return release ``number``; raises :class:`ReleaseError` if there is none."""
    try:
        return decode_release(store.get(_object_name(number)).data, _object_name(number))
    except ObjectNotFound as error:
        raise ReleaseError(f"there is no release {number}") from error


def iter_releases(store: ObjectStore) -> Iterator[Release]:
    """Yield every release, newest (the current one) first."""
    try:
        current = read_current_release(store)[0]
    except ObjectNotFound:
        return
    yield current
    for number in range(current.number - 1, 0, -1):
        yield read_release(store, number)


def publish_release(store: ObjectStore, change: Callable[[Release | None], Release]) -> Release:
    """Replace the current release with ``change(current)`` and return it with its number.

    Safe with concurrent publishers: ``change`` is called again with the newer release when another publisher was
    first. A ``change`` that returns its argument publishes nothing.
    """
    for _ in range(ATTEMPTS):
        before, version = _read_current_or_none(store)
        number = before.number + 1 if before else 1
        if _finish_swap(store, number, version):
            continue
        release = change(before)
        if release is before:
            return release
        release = msgspec.structs.replace(release, number=number)
        check_release(release)
        if _claim_number(store, release, version):
            return release
    raise ReleaseError(f"other publishers were faster {ATTEMPTS} times in a row; try again")


def check_release(release: Release) -> None:
    """Raise :class:`ReleaseError` unless arms and salt are valid."""
    check_arms(release.arms)
    if not release.salt:
        raise ReleaseError("a release needs a salt")


def decode_release(data: bytes, name: str) -> Release:
    """Parse and check a release; raises :class:`ReleaseError`."""
    try:
        version = msgspec.json.decode(data, type=_ReleaseHeader).format
        if version != FORMAT:
            raise ReleaseError(f"{name} has format {version}; this program reads format {FORMAT}: update it")
        release = msgspec.json.decode(data, type=Release)
    except msgspec.MsgspecError as error:
        raise ReleaseError(f"{name} cannot be read: {error}") from error
    check_release(release)
    return release


class _ReleaseHeader(msgspec.Struct):
    format: int


def _object_name(number: int) -> str:
    return f"releases/{number}.json"


def _encode(release: Release) -> bytes:
    return msgspec.json.format(msgspec.json.encode(release), indent=1)


def _read_current_or_none(store: ObjectStore) -> tuple[Release | None, Version | None]:
    try:
        return read_current_release(store)
    except ObjectNotFound:
        return None, None


def _finish_swap(store: ObjectStore, number: int, version: Version | None) -> bool:
    """Make release ``number`` current if it was written but not yet swapped in; return whether it was written."""
    try:
        data = store.get(_object_name(number)).data
    except ObjectNotFound:
        return False
    decode_release(data, _object_name(number))
    try:
        store.replace(CURRENT, data, version)
    except PreconditionFailed:
        pass  # Its publisher, or another one that finishes the swap, was first.
    return True


def _claim_number(store: ObjectStore, release: Release, version: Version | None) -> bool:
    try:
        store.put_new(_object_name(release.number), _encode(release))
    except PreconditionFailed:
        return False
    # The number is taken by this release: if the swap fails, another publisher has done it.
    _finish_swap(store, release.number, version)
    return True
