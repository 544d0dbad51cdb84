"""The release: the one small document that names the artifacts in service, and the only one that changes.

``releases/<n>.json`` is written first, if absent, which decides the owner of number n. Then ``releases/current.json``
is replaced with the same bytes by compare-and-swap. A publisher that finds numbers above that of ``current.json``
follows the last of them, and its own swap completes theirs: a publisher killed in between needs no manual repair.
Every release is therefore known twice, and a ``current.json`` that cannot be used has a substitute: the newest numbered
document that is whole.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime

import msgspec

from marquee.errors import ObjectNotFound, PreconditionFailed, ReleaseError
from marquee.registry.arm_assignment import Arm, assign_arm, new_salt, number_policies
from marquee.registry.json_document import MalformedDocument, decode_json
from marquee.registry.manifest import hash_manifests
from marquee.registry.object_store.object_store import ObjectStore, Version
from marquee.registry.policy import NO_POLICY
from marquee.registry.release_rules import MAX_NUMBER, check_ramp, check_release

CURRENT = "releases/current.json"
FORMAT = 4
"""Newest format: that of interleaved experiments. Other releases with a policy are in format 3, other experiments in
format 2, other releases in format 1."""
ATTEMPTS = 100
PAUSED = "automatic releases are paused until `marquee release resume`"

_PREFIX = "releases/"
_NUMBERED = re.compile(r"releases/([1-9][0-9]{0,9})\.json")


class UnusableRelease(ReleaseError):
    """A release document that no program could have published: damaged, or with invalid values."""


class Release(msgspec.Struct, frozen=True, kw_only=True):
    """The arms in service. Their weights sum to 1."""

    format: int = 1
    number: int = 0  # Assigned by publish_release.
    created: datetime
    author: str
    reason: str
    salt: str  # Of the assignment of users to arms.
    arms: tuple[Arm, ...]
    previous: int | None = None  # Release that a rollback returns to.
    manifests: dict[str, str] = {}  # Version -> SHA-256 of its manifest. Empty in releases of older programs.
    restores: int | None = None  # Release whose arms this rollback restored.
    paused: bool = False  # Since a rollback: retraining releases nothing until `marquee release resume`.
    evidence: str = ""  # Why an automatic step was taken: the time of the look and its numbers.
    experiment: str = ""  # Its name. Salt, weights, names and order of the arms stay for its life.
    enrolled: float = 1.0  # Share of the users who take part. The others get the first arm's version.
    on_hold: bool = False  # A person has stopped the automatic steps.
    interleaved: bool = False  # Lists of users who take part are drafted from both arms.

    def assign(self, user_id: str) -> Arm:
        """Return the user's arm."""
        return assign_arm(self.arms, self.salt, user_id, self.enrolled)


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
        paused=after.paused if after else False,
    )


def read_current_release(store: ObjectStore) -> tuple[Release, Version]:
    """Return the current release and the version of its document.

    Raises ``ObjectNotFound`` before the first release, :class:`ReleaseError` if the document is invalid.
    """
    document = store.get(CURRENT)
    return _decode_current(store, document.data), document.version


def read_if_changed(store: ObjectStore, since: Version) -> tuple[Release, Version] | None:
    """Return the current release, or None if its document still has version ``since``: the cheap call for polling."""
    document = store.get(CURRENT, if_changed_from=since)
    return None if document is None else (_decode_current(store, document.data), document.version)


def read_release(store: ObjectStore, number: int) -> Release:
    """Return release ``number``. Raises :class:`ReleaseError` if there is none, or it is damaged."""
    name = _object_name(number)
    try:
        release = decode_release(store.get(name).data, name)
    except ObjectNotFound as error:
        raise ReleaseError(f"there is no release {number}") from error
    if release.number != number:
        raise UnusableRelease(f"{name} holds release {release.number}, not {number}")
    return release


def list_numbers(store: ObjectStore) -> list[int]:
    """Return the numbers that publishers have claimed, lowest first."""
    matches = map(_NUMBERED.fullmatch, store.list(_PREFIX))
    return sorted(n for match in matches if match and (n := int(match[1])) <= MAX_NUMBER)


def iter_whole_releases(store: ObjectStore, *, above: int = 0, below: int = MAX_NUMBER + 1) -> Iterator[Release]:
    """Yield the releases between two numbers, newest first, from their numbered documents alone.

    Numbers whose document is missing or damaged are left out.
    """
    yield from _iter_whole(store, [n for n in list_numbers(store) if above < n < below])


def iter_releases(store: ObjectStore) -> Iterator[Release]:
    """Yield every release, newest (the current one) first; numbers without a whole document are left out."""
    below = MAX_NUMBER + 1
    try:
        current = read_current_release(store)[0]
        below = current.number
        yield current
    except (ObjectNotFound, ReleaseError):
        pass  # The numbered documents are enough.
    yield from iter_whole_releases(store, below=below)


def find_serving_release(store: ObjectStore) -> Release | None:
    """Return the release that instances serve: the current one, or its substitute; None before the first."""
    try:
        return read_current_release(store)[0]
    except (ObjectNotFound, ReleaseError):
        return next(iter_whole_releases(store), None)


def find_last_release(store: ObjectStore) -> Release | None:
    """Return the release that the next one follows: the newest, even if its publisher was killed before the swap."""
    return _find_last(store, _read_document(store)[0], list_numbers(store))


def require_release(release: Release | None) -> Release:
    """Return ``release``; raise :class:`ReleaseError` before the first one."""
    if release is None:
        raise ReleaseError("there is no release yet: promote a version first")
    return release


def publish_release(store: ObjectStore, change: Callable[[Release | None], Release]) -> Release:
    """Replace the current release with ``change(last)`` and return it with its number.

    ``last`` is that of :func:`find_last_release`. Safe with concurrent publishers: ``change`` is called again with
    the newer release when another publisher was first. A ``change`` that returns its argument publishes nothing new,
    but makes sure that it serves. A ``change`` that raises changes nothing. A ``current.json`` that cannot be used is
    replaced.
    """
    for _ in range(ATTEMPTS):
        current = _read_document(store)[0]
        numbers = list_numbers(store)
        last = _find_last(store, current, numbers)
        release = change(last)
        if release is last:
            if last is not current:
                swap_in(store, release)
            return release
        number = max([current.number if current else 0, *numbers]) + 1
        release = _choose_format(release, number)
        check_release(release)
        check_ramp(last, release)
        known = {**(last.manifests if last else {}), **release.manifests}
        manifests = hash_manifests(store, (arm.version for arm in release.arms), known)
        release = msgspec.structs.replace(release, number=number, manifests=manifests)
        check_release(release)
        try:
            store.put_new(_object_name(number), _encode(release))
        except PreconditionFailed:
            continue
        swap_in(store, release)
        return release
    raise ReleaseError(f"other publishers were faster {ATTEMPTS} times in a row; try again")


def decode_release(data: bytes, name: str) -> Release:
    """Parse and check a release. Raises :class:`ReleaseError` if it is not valid."""
    try:
        version = decode_json(data, _ReleaseHeader).format
        if version > FORMAT:
            raise ReleaseError(f"{name} has format {version}; this program reads format {FORMAT}: update it")
        if version < 1:
            raise UnusableRelease(f"{name} has format {version}, which no program has written")
        release = decode_json(data, Release)
    except MalformedDocument as error:
        raise UnusableRelease(f"{name} cannot be read: {error}") from error
    try:
        check_release(release)
    except ReleaseError as error:
        raise UnusableRelease(f"{name} cannot be used: {error}") from error
    if release.number == 0:
        raise UnusableRelease(f"{name} cannot be used: it has number 0, that of no release")
    return release


def _choose_format(release: Release, number: int) -> Release:
    """Return the release in the oldest format that can express it, with the numbers of its new policies."""
    arms = number_policies(release.arms, number)
    if release.interleaved or any(arm.policy != NO_POLICY for arm in arms):
        return msgspec.structs.replace(release, arms=arms, format=4 if release.interleaved else 3)
    return msgspec.structs.replace(release, format=2 if release.experiment else 1) if release.format > 2 else release


_NEW_IN_FORMAT_2 = {"experiment": "", "enrolled": 1.0, "evidence": "", "on_hold": False}


class _ReleaseHeader(msgspec.Struct):
    format: int


def _object_name(number: int) -> str:
    return f"{_PREFIX}{number}.json"


def _encode(release: Release) -> bytes:
    document = msgspec.to_builtins(release)
    if release.format == 1:  # Byte for byte as older programs wrote it.
        document = {name: value for name, value in document.items() if value != _NEW_IN_FORMAT_2.get(name, ...)}
    for arm in document["arms"] if release.format < 3 else ():
        del arm["policy"]
    if release.format < 4:
        del document["interleaved"]
    return msgspec.json.format(msgspec.json.encode(document), indent=1)


def _decode_current(store: ObjectStore, data: bytes) -> Release:
    release = decode_release(data, CURRENT)
    if not _is_known(store, release.number):
        raise UnusableRelease(f"{CURRENT} has number {release.number}, which no publisher has claimed")
    return release


def _is_known(store: ObjectStore, number: int) -> bool:
    """Return whether a publisher may have claimed ``number``, although numbered documents may have been deleted."""
    try:
        store.get(_object_name(number))
        return True
    except ObjectNotFound:
        numbers = list_numbers(store)
        return not numbers or number <= numbers[-1] + 1


def _read_document(store: ObjectStore) -> tuple[Release | None, Version | None]:
    """Return the current release, None if it must be replaced, and its document's version, None if there is none.

    Raises :class:`ReleaseError` for the document of a newer program, which an older one must not replace.
    """
    try:
        document = store.get(CURRENT)
    except ObjectNotFound:
        return None, None
    try:
        return _decode_current(store, document.data), document.version
    except UnusableRelease:
        return None, document.version


def _find_last(store: ObjectStore, current: Release | None, numbers: Sequence[int]) -> Release | None:
    newer = [n for n in numbers if current is None or n > current.number]
    return next(_iter_whole(store, newer), current)


def _iter_whole(store: ObjectStore, numbers: Sequence[int]) -> Iterator[Release]:
    for number in reversed(numbers):
        try:
            yield read_release(store, number)
        except ReleaseError:
            continue


def swap_in(store: ObjectStore, release: Release) -> None:
    """Make ``release`` current, unless a newer one is."""
    for _ in range(ATTEMPTS):
        current, version = _read_document(store)
        if current is not None and current.number >= release.number:
            return
        try:
            store.replace(CURRENT, _encode(release), version)
            return
        except PreconditionFailed:
            continue  # Another publisher was first.
    raise ReleaseError(f"{CURRENT} was replaced {ATTEMPTS} times in a row; try again")
