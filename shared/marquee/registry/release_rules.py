"""Rules that a release and the next one must keep, so that no user ever moves from one arm to another."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from marquee.errors import ReleaseError
from marquee.registry.arm_assignment import OUTSIDE, check_arms
from marquee.registry.policy import NO_POLICY

if TYPE_CHECKING:
    from marquee.registry.release import Release

MAX_NUMBER = 2**31 - 1
"""Impressions hold the number of their release, which the database stores as a 4-byte integer."""

EXPERIMENT_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")


def check_release(release: Release) -> None:
    """Raise :class:`ReleaseError` unless arms, salt, time and the fields of an experiment are valid."""
    check_arms(release.arms)
    if not release.salt:
        raise ReleaseError("a release needs a salt")
    if release.created.tzinfo is None:
        raise ReleaseError(f"the time of a release needs a zone; got {release.created.isoformat()}")
    if not all(n is None or 0 < n <= MAX_NUMBER for n in (release.previous, release.restores, release.number or None)):
        raise ReleaseError(
            f"number, previous and restores lie between 1 and {MAX_NUMBER}; "
            f"got {release.number}, {release.previous} and {release.restores}"
        )
    if release.format < 3 and any(arm.policy != NO_POLICY for arm in release.arms):
        raise ReleaseError(f"a release of format {release.format} has no policy; one of format 3 has")
    if release.interleaved != (release.format == 4):
        raise ReleaseError("the releases of an interleaved experiment, and no others, have format 4")
    if release.format == 1 or (release.format == 3 and not release.experiment):
        _check_no_experiment(release)
    else:
        _check_experiment(release)


def check_ramp(before: Release | None, release: Release) -> None:
    """Raise :class:`ReleaseError` if ``release`` would move users of the experiment that ``before`` runs.

    Within an experiment only the enrolled share may grow, the versions may be replaced, and a person may hold it.
    """
    if before is None or not before.experiment or before.experiment != release.experiment:
        return
    split = [(arm.name, arm.weight) for arm in before.arms]
    if release.salt != before.salt or [(arm.name, arm.weight) for arm in release.arms] != split:
        raise ReleaseError(
            f"experiment {before.experiment} runs: its salt and the names, order and weights of its arms stay as they "
            "are; end it, and start another one"
        )
    if release.interleaved != before.interleaved:
        raise ReleaseError(f"experiment {before.experiment} runs: whether its lists are interleaved stays as it is")
    if _compare_policies(before) and [arm.policy for arm in release.arms] != [arm.policy for arm in before.arms]:
        raise ReleaseError(f"experiment {before.experiment} compares policies, which stay as they are; end it first")
    if not _compare_policies(before) and _compare_policies(release):
        raise ReleaseError(f"experiment {before.experiment} compares versions: its arms have one policy")
    if release.enrolled < before.enrolled:
        raise ReleaseError(
            f"experiment {before.experiment} has enrolled {before.enrolled:.4g} of the users, which may only grow; "
            f"got {release.enrolled:.4g}"
        )


def _compare_policies(release: Release) -> bool:
    return any(arm.policy != release.arms[0].policy for arm in release.arms)


def is_same_experiment(one: Release, other: Release) -> bool:
    """Return whether both releases are of one experiment: by its name, or by the salt in releases of format 1."""
    if one.experiment or other.experiment:
        return one.experiment == other.experiment
    return len(one.arms) > 1 and len(other.arms) > 1 and one.salt == other.salt


def _check_no_experiment(release: Release) -> None:
    if release.experiment or release.enrolled != 1.0 or release.on_hold:
        raise ReleaseError("a release of format 1 or without its name has no experiment: no share and no hold")


def _check_experiment(release: Release) -> None:
    if not EXPERIMENT_NAME.fullmatch(release.experiment):
        raise ReleaseError(
            f"the name of an experiment has up to 100 characters of a-z, 0-9, dot, - and _; got {release.experiment!r}"
        )
    if not 0 < release.enrolled <= 1:
        raise ReleaseError(f"the enrolled share must be above 0 and up to 1; got {release.enrolled}")
    names = [arm.name for arm in release.arms]
    if len(names) < 2 or OUTSIDE in names:
        raise ReleaseError(f"an experiment needs two arms or more, none of them called {OUTSIDE}; got {names}")
    if release.interleaved and len(names) != 2:
        raise ReleaseError(f"lists are interleaved of two arms; got {names}")
    if release.interleaved and any(arm.policy.pins or arm.policy.quotas for arm in release.arms):
        raise ReleaseError(
            "an interleaved list keeps no pins and no quotas: remove them from the policy, or compare by an experiment"
        )
