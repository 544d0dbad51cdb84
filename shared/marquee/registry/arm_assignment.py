"""Arms of an experiment and the assignment of users to them.

The assignment is a pure function of salt, weights, enrolled share and user id (hash-based bucketing), so it needs no
stored state and is the same in every process. One hash decides whether a user takes part, another one deals the arm.
A growing enrolled share therefore only moves users from outside the experiment into an arm, never from arm to arm.
A new salt reshuffles all users.
"""

from __future__ import annotations

import hashlib
import math
import re
import secrets
from collections.abc import Sequence

import msgspec

from marquee.errors import ReleaseError
from marquee.registry.policy import NO_POLICY, Policy, check_policy

_ARM_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
OUTSIDE = "outside"
"""Name of the arm of users who take no part. It serves the version of the first arm."""

_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class Arm(msgspec.Struct, frozen=True):
    """One side of an experiment: an artifact, its fraction of the users, above 0 and up to 1, and its policy."""

    name: str
    version: str
    weight: float
    policy: Policy = NO_POLICY


def inherit_policies(arms: Sequence[Arm], before: Sequence[Arm]) -> tuple[Arm, ...]:
    """Return the arms with the policies of the arms before them: of the same name, otherwise of the first.

    A new model keeps the rules that hold.
    """
    by_name = {arm.name: arm.policy for arm in before}
    default = before[0].policy if before else NO_POLICY
    return tuple(msgspec.structs.replace(arm, policy=by_name.get(arm.name, default)) for arm in arms)


def number_policies(arms: Sequence[Arm], number: int) -> tuple[Arm, ...]:
    """Return the arms with ``number``, that of their release, in the policies that have none yet."""
    return tuple(msgspec.structs.replace(arm, policy=_number_policy(arm.policy, number)) for arm in arms)


def _number_policy(policy: Policy, number: int) -> Policy:
    return policy if policy.number or policy == NO_POLICY else msgspec.structs.replace(policy, number=number)


def assign_arm(arms: Sequence[Arm], salt: str, user_id: str, enrolled: float = 1.0) -> Arm:
    """Return the user's arm: the same in every process, until salt or weights change or the user is enrolled.

    A user who is not enrolled gets the first arm under the name :data:`OUTSIDE`.
    """
    if len(arms) == 1:
        return arms[0]
    if enrolled < 1 and enrolment_point(salt, user_id) >= enrolled:
        return msgspec.structs.replace(arms[0], name=OUTSIDE)
    point = _hash_to_unit(f"{salt}\0{user_id}")
    for arm in arms:
        point -= arm.weight
        if point < 0:
            return arm
    return arms[-1]  # The weights may sum to slightly less than 1.


def spread_arms(arms: Sequence[Arm], enrolled: float) -> list[Arm]:
    """Return the arms with their fractions of all users, and :data:`OUTSIDE` if some take no part."""
    spread = [msgspec.structs.replace(arm, weight=arm.weight * enrolled) for arm in arms]
    if len(arms) > 1 and enrolled < 1:
        spread.append(msgspec.structs.replace(arms[0], name=OUTSIDE, weight=1 - enrolled))
    return spread


def enrolment_point(salt: str, user_id: str) -> float:
    """Return the point in [0, 1) of the user, who takes part once the enrolled share is above it."""
    return _hash_to_unit(f"{salt}\0enrol\0{user_id}")


def _hash_to_unit(text: str) -> float:
    """Return a point that is uniform in [0, 1) and exact in float64."""
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
    return (int.from_bytes(digest[:8], "big") >> 11) / 2**53


def new_salt() -> str:
    """Return a random salt."""
    return secrets.token_hex(8)


def check_arms(arms: Sequence[Arm]) -> None:
    """Raise :class:`ReleaseError` unless names are distinct and well formed and weights are positive and sum to 1."""
    names = [arm.name for arm in arms]
    if not names or len(set(names)) != len(names) or not all(_ARM_NAME.fullmatch(n) for n in names):
        raise ReleaseError(f"a release needs at least one arm, with distinct names of a-z, 0-9, - and _; got {names}")
    for arm in arms:
        check_policy(arm.policy)
    weights = [arm.weight for arm in arms]
    if not all(0 < w <= 1 for w in weights) or not math.isclose(math.fsum(weights), 1, abs_tol=1e-9):
        raise ReleaseError(f"arm weights must each be above 0 and sum to 1; got {weights}")
    versions = [arm.version for arm in arms]
    if not all(map(_VERSION.fullmatch, versions)):
        raise ReleaseError(
            "each arm needs the version of an artifact, of letters, digits, dot, - and _, such as "
            f"20260214T000921-1a2b3c4d; got {versions}"
        )
