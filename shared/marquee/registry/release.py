"""The release: the one small document that says which artifacts serve, and the only one that changes.

``releases/<n>.json`` is written first, if absent, and so settles who has number n; then
``releases/current.json`` is swapped to the same bytes. Whoever finds n written and current behind it
finishes the swap, so a publisher that is killed in between leaves nothing to mend by hand.
"""

from __future__ import annotations

import hashlib
import math
import re
import secrets
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import msgspec

from marquee.errors import ObjectNotFound, PreconditionFailed, ReleaseError
from marquee.registry.object_store.object_store import ObjectStore, Version

CURRENT = "releases/current.json"
FORMAT = 1
ATTEMPTS = 100
_ARM_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")


class Arm(msgspec.Struct, frozen=True):
    """One side of an experiment: an artifact and its share of the users, above 0 and up to 1."""

    name: str
    version: str
    weight: float


class Release(msgspec.Struct, frozen=True, kw_only=True):
    """What serves. The weights of the arms sum to 1."""

    format: int = FORMAT
    number: int = 0  # given by publish
    created: datetime
    author: str
    reason: str
    salt: str  # of the experiment: another salt deals the users out anew
    arms: tuple[Arm, ...]
    previous: int | None = None  # the release that a rollback goes back to
    restores: int | None = None  # the release whose arms a rollback brought back


def assign_arm(release: Release, user_id: str) -> Arm:
    """The user's arm: the same in every process, until salt or weights change.

    A growing last arm takes users from the others and gives none back.
    """
    if len(release.arms) == 1:
        return release.arms[0]
    digest = hashlib.sha256(f"{release.salt}\0{user_id}".encode("utf-8", "surrogatepass")).digest()
    point = (int.from_bytes(digest[:8], "big") >> 11) / 2**53  # In [0, 1), every value exact.
    for arm in release.arms:
        point -= arm.weight
        if point < 0:
            return arm
    return release.arms[-1]


def new_release(
    arms: tuple[Arm, ...], *, author: str, reason: str, salt: str | None = None, after: Release | None = None
) -> Release:
    """A release to be published; its number comes then."""
    return Release(
        created=datetime.now(UTC),
        author=author,
        reason=reason,
        salt=salt or secrets.token_hex(8),
        arms=arms,
        previous=after.number if after else None,
    )


def current_release(store: ObjectStore) -> tuple[Release, Version]:
    """The release that serves.

    Raises ``ObjectNotFound`` before the first, :class:`ReleaseError` if it cannot be read.
    """
    found = store.get(CURRENT)
    return decode(found.data, CURRENT), found.version


def current_if_changed(store: ObjectStore, since: Version) -> tuple[Release, Version] | None:
    """As :func:`current`, or None if it still is of the version ``since``; the cheap call for polling."""
    found = store.get(CURRENT, if_changed_from=since)
    return None if found is None else (decode(found.data, CURRENT), found.version)


def read_release(store: ObjectStore, number: int) -> Release:
    """One release of the past; raises :class:`ReleaseError` if there is none of that number."""
    try:
        return decode(store.get(_name(number)).data, _name(number))
    except ObjectNotFound as error:
        raise ReleaseError(f"there is no release {number}") from error


def past_releases(store: ObjectStore) -> Iterator[Release]:
    """Every release, the one that serves first; nothing if there is none."""
    try:
        newest = current_release(store)[0]
    except ObjectNotFound:
        return
    yield newest
    for number in range(newest.number - 1, 0, -1):
        yield read_release(store, number)


def publish_release(store: ObjectStore, change: Callable[[Release | None], Release]) -> Release:
    """Replace the release that serves by ``change`` of it, whatever others publish meanwhile.

    ``change`` is called again with the newer release when another publisher was first; returning the
    release it was given publishes nothing. Returns what was published, with its number.
    """
    for _ in range(ATTEMPTS):
        before, version = _current_or_none(store)
        number = before.number + 1 if before else 1
        if _finish(store, number, version):
            continue
        release = change(before)
        if release is before:
            return release
        release = msgspec.structs.replace(release, number=number)
        check_release(release)
        if _publish_as(store, release, version):
            return release
    raise ReleaseError(f"other publishers were faster {ATTEMPTS} times in a row; try again")


def check_release(release: Release) -> None:
    """Raise :class:`ReleaseError` unless the arms make sense."""
    names = [arm.name for arm in release.arms]
    if not names or len(set(names)) != len(names) or not all(_ARM_NAME.fullmatch(n) for n in names):
        raise ReleaseError(f"arms need distinct names of a-z, 0-9, - and _, and there must be one: {names}")
    weights = [arm.weight for arm in release.arms]
    if not all(0 < w <= 1 for w in weights) or not math.isclose(math.fsum(weights), 1, abs_tol=1e-9):
        raise ReleaseError(f"weights should each be above 0 and sum to 1, not {weights}")
    if not release.salt or not all(arm.version for arm in release.arms):
        raise ReleaseError("a release needs a salt, and each arm the version of an artifact")


def decode(data: bytes, name: str) -> Release:
    """Parse and check a release; raises :class:`ReleaseError`."""
    try:
        found = msgspec.json.decode(data, type=_Format).format
        if found != FORMAT:
            raise ReleaseError(f"{name} has format {found}; this program reads format {FORMAT}: update it")
        release = msgspec.json.decode(data, type=Release)
    except msgspec.MsgspecError as error:
        raise ReleaseError(f"{name} cannot be read: {error}") from error
    check_release(release)
    return release


class _Format(msgspec.Struct):
    format: int


def _name(number: int) -> str:
    return f"releases/{number}.json"


def _encode(release: Release) -> bytes:
    return msgspec.json.format(msgspec.json.encode(release), indent=1)


def _current_or_none(store: ObjectStore) -> tuple[Release | None, Version | None]:
    try:
        return current_release(store)
    except ObjectNotFound:
        return None, None


def _finish(store: ObjectStore, number: int, version: Version | None) -> bool:
    """Make release ``number`` current if another publisher has written it and not come further."""
    try:
        data = store.get(_name(number)).data
    except ObjectNotFound:
        return False
    decode(data, _name(number))
    try:
        store.replace(CURRENT, data, version)
    except PreconditionFailed:
        pass  # Its publisher, or another who helps, was first.
    return True


def _publish_as(store: ObjectStore, release: Release, version: Version | None) -> bool:
    try:
        store.put_new(_name(release.number), _encode(release))
    except PreconditionFailed:
        return False
    # From here on the number is ours: if the swap fails, then because someone did it for us.
    _finish(store, release.number, version)
    return True
