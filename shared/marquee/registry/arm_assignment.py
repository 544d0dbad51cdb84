"""Arms of an experiment and the assignment of users to them.

The assignment is a pure function of salt, weights and user id (hash-based bucketing), so it needs no stored state and
is the same in every process. It is sticky: a user's arm changes only when the salt or the weights change.
:func:`choose_salt` keeps the salt while the same arms are compared. An arm that grows at the end of the list then
takes users from the other arms and gives none back. A new salt reshuffles all users.
"""

from __future__ import annotations

import hashlib
import math
import re
import secrets
from collections.abc import Sequence

import msgspec

from marquee.errors import ReleaseError

_ARM_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class Arm(msgspec.Struct, frozen=True):
    """One side of an experiment: an artifact and its fraction of the users, above 0 and up to 1."""

    name: str
    version: str
    weight: float


def assign_arm(arms: Sequence[Arm], salt: str, user_id: str) -> Arm:
    """Return the user's arm: the same in every process, until salt or weights change."""
    if len(arms) == 1:
        return arms[0]
    digest = hashlib.sha256(f"{salt}\0{user_id}".encode("utf-8", "surrogatepass")).digest()
    point = (int.from_bytes(digest[:8], "big") >> 11) / 2**53  # Uniform in [0, 1), exact in float64.
    for arm in arms:
        point -= arm.weight
        if point < 0:
            return arm
    return arms[-1]  # The weights may sum to slightly less than 1.


def new_salt() -> str:
    """Return a random salt."""
    return secrets.token_hex(8)


def choose_salt(arms: Sequence[Arm], previous_arms: Sequence[Arm], previous_salt: str) -> str:
    """Return the previous salt if the same arms are compared with other weights, and a new one otherwise."""
    same = [(arm.name, arm.version) for arm in arms] == [(arm.name, arm.version) for arm in previous_arms]
    return previous_salt if same else new_salt()


def check_arms(arms: Sequence[Arm]) -> None:
    """Raise :class:`ReleaseError` unless names are distinct and well formed and weights are positive and sum to 1."""
    names = [arm.name for arm in arms]
    if not names or len(set(names)) != len(names) or not all(_ARM_NAME.fullmatch(n) for n in names):
        raise ReleaseError(f"a release needs at least one arm, with distinct names of a-z, 0-9, - and _; got {names}")
    weights = [arm.weight for arm in arms]
    if not all(0 < w <= 1 for w in weights) or not math.isclose(math.fsum(weights), 1, abs_tol=1e-9):
        raise ReleaseError(f"arm weights must each be above 0 and sum to 1; got {weights}")
    versions = [arm.version for arm in arms]
    if not all(map(_VERSION.fullmatch, versions)):
        raise ReleaseError(
            "each arm needs the version of an artifact, of letters, digits, dot, - and _, such as "
            f"20260214T000921-1a2b3c4d; got {versions}"
        )
