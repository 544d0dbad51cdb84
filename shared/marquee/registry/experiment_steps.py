"""Steps of a declared experiment: start, enrol more users, hold, and end. Each is one write of one document."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from marquee.errors import ReleaseError
from marquee.registry.arm_assignment import Arm
from marquee.registry.object_store.object_store import ObjectStore
from marquee.registry.release import Release, new_release, publish_release, read_release, require_release
from marquee.registry.rollout import CONTROL, amend_release, verify_or_refuse


class ReleaseChanged(ReleaseError):
    """Another release serves than the one that the step was decided for."""


def start_experiment(
    store: ObjectStore,
    name: str,
    arms: tuple[Arm, ...],
    *,
    enrolled: float,
    author: str,
    reason: str = "",
    evidence: str = "",
    interleaved: bool = False,
    expected: Release | None = None,
) -> Release:
    """Publish the first release of experiment ``name``, with a salt of its own.

    Raises :class:`ReleaseError` if another experiment runs, if there is no release yet, or if ``expected`` is given
    and another release serves.
    """
    for version in {arm.version for arm in arms}:
        verify_or_refuse(store, version)

    def change(before: Release | None) -> Release:
        before = require_release(before)
        if len(before.arms) > 1:
            raise ReleaseError(
                f"release {before.number} is an experiment ({before.experiment or 'split'}): end it first"
            )
        first = new_release(arms, author=author, reason=reason, after=before)
        return msgspec.structs.replace(
            first, format=2, experiment=name, enrolled=enrolled, evidence=evidence, interleaved=interleaved
        )

    return _publish(store, change, expected)


def hold_experiment(store: ObjectStore, name: str, *, on_hold: bool, author: str, reason: str = "") -> Release:
    """Stop or resume the automatic steps of experiment ``name``; do nothing if that is already so.

    Raises :class:`ReleaseError` if the experiment does not run.
    """

    def change(before: Release | None) -> Release:
        running = require_running(before, name)
        if running.on_hold == on_hold:
            return running
        reason_given = reason or ("on hold" if on_hold else "resumed")
        return amend_release(running, author=author, reason=reason_given, on_hold=on_hold)

    return publish_release(store, change)


def end_experiment(
    store: ObjectStore,
    name: str,
    *,
    keep: str,
    author: str,
    reason: str = "",
    evidence: str = "",
    expected: Release | None = None,
) -> Release:
    """Serve the version of the arm ``keep`` to all users. A rollback then returns to what served before.

    With ``expected`` the change is a compare-and-swap: it raises :class:`ReleaseChanged` if another release serves.
    """

    def change(before: Release | None) -> Release:
        running = require_running(before, name)
        kept = next((arm for arm in running.arms if arm.name == keep), None)
        if kept is None:
            raise ReleaseError(f"experiment {name} has no arm {keep!r}; its arms: {[a.name for a in running.arms]}")
        verify_or_refuse(store, kept.version)
        whole = msgspec.structs.replace(kept, name=CONTROL, weight=1.0)
        ended = new_release((whole,), author=author, reason=reason or f"ended {name}, kept {keep}", after=running)
        before_it = find_before(store, running)
        if before_it is not None and before_it.arms == ended.arms:  # As a rollback to it.
            return msgspec.structs.replace(
                ended, evidence=evidence, previous=before_it.previous, restores=before_it.number
            )
        return msgspec.structs.replace(ended, evidence=evidence, previous=running.previous)

    return _publish(store, change, expected)


def find_before(store: ObjectStore, running: Release) -> Release | None:
    """Return the release that served before the experiment; None if its document is missing or damaged."""
    try:
        return None if running.previous is None else read_release(store, running.previous)
    except ReleaseError:
        return None


def enrol_more(
    store: ObjectStore, name: str, *, enrolled: float, author: str, reason: str, evidence: str, expected: Release
) -> Release:
    """Enrol a larger share of the users in experiment ``name``, if ``expected`` still serves.

    Raises :class:`ReleaseChanged` if another release serves, :class:`ReleaseError` if the share would fall.
    """

    def change(before: Release | None) -> Release:
        running = require_running(before, name)
        return amend_release(running, author=author, reason=reason, evidence=evidence, enrolled=enrolled)

    return _publish(store, change, expected)


def replace_versions(
    store: ObjectStore, running: Release, versions: Mapping[str, str], *, author: str, reason: str
) -> Release:
    """Serve other versions in the arms of the experiment that ``running`` runs, in one write; users keep their arms.

    Raises :class:`ReleaseError` if the experiment has ended, is on hold, or has other versions than ``running``, and if
    a version is missing; ``ArtifactRefused`` if one must not serve.
    """
    for version in {*versions.values()}:
        verify_or_refuse(store, version)

    def change(before: Release | None) -> Release:
        last = require_running(before, running.experiment)
        if last.on_hold:
            raise ReleaseError(f"experiment {running.experiment} is on hold, so its arms keep their versions")
        if [arm.version for arm in last.arms] != [arm.version for arm in running.arms]:
            raise ReleaseError(f"the versions of experiment {running.experiment} have been replaced meanwhile")
        arms = tuple(msgspec.structs.replace(arm, version=versions[arm.name]) for arm in last.arms)
        return last if arms == last.arms else amend_release(last, author=author, reason=reason, arms=arms)

    return publish_release(store, change)


def require_running(release: Release | None, name: str) -> Release:
    """Return ``release`` if it runs experiment ``name``; raise :class:`ReleaseError` otherwise."""
    if release is None or release.experiment != name:
        running = f"; {release.experiment} runs" if release and release.experiment else ""
        raise ReleaseError(f"experiment {name} does not run{running}")
    return release


def _publish(store: ObjectStore, change: Callable[[Release | None], Release], expected: Release | None) -> Release:
    """Publish ``change(last)`` if ``expected`` is the last release, or None.

    Otherwise make sure that the last release serves, and raise :class:`ReleaseChanged`. Its publisher may have been
    killed before the swap, and a step that is only refused would wait for it for ever.
    """
    superseded: list[Release] = []

    def guarded(last: Release | None) -> Release:
        superseded.clear()
        if last is not None and expected is not None and last.number != expected.number:
            superseded.append(last)
            return last
        return change(last)

    published = publish_release(store, guarded)
    if superseded and expected is not None:
        raise ReleaseChanged(f"release {published.number} serves now, not release {expected.number}")
    return published
