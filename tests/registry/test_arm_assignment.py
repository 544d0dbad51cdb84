"""Tests of arms and assignment: valid weights, proportional fractions, and stickiness."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marquee.errors import ReleaseError
from marquee.registry.arm_assignment import Arm, assign_arm, check_arms, choose_salt

N_USERS = 20_000


def make_arms(*weights: float) -> tuple[Arm, ...]:
    return tuple(Arm(f"arm{n}", f"v{n}", weight) for n, weight in enumerate(weights))


def assign(user_id: str, *weights: float, salt: str = "salt") -> str:
    """Return the name of the user's arm."""
    return assign_arm(make_arms(*weights), salt, user_id).name


INVALID_ARMS = [
    (),
    make_arms(0.5),
    make_arms(1.5, -0.5),
    make_arms(1.0, 0.0),
    make_arms(float("nan")),
    (Arm("a", "v", 0.5), Arm("a", "w", 0.5)),
    (Arm("", "v", 1.0),),
    (Arm("Ä", "v", 1.0),),
    (Arm("a", "", 1.0),),
    (Arm("a", "../../etc", 1.0),),
    (Arm("a", "v ", 1.0),),
]


@pytest.mark.parametrize("arms", INVALID_ARMS)
def test_check_arms_invalid_names_versions_or_weights_raises(arms: tuple[Arm, ...]) -> None:
    """No arm at all, weights that are not fractions of one whole, repeated, malformed or empty names."""
    with pytest.raises(ReleaseError):
        check_arms(arms)


def test_check_arms_weights_off_by_rounding_are_accepted() -> None:
    """Ten times 0.1 is not exactly 1 in floating point; a sum that is wrong by 1e-6 is no rounding."""
    check_arms(make_arms(*[0.1] * 10))
    with pytest.raises(ReleaseError, match="sum to 1"):
        check_arms(make_arms(*[0.1] * 9, 0.1 + 1e-6))


@pytest.mark.parametrize("weights", [(0.5, 0.5), (0.9, 0.1), (0.2, 0.3, 0.5), (1.0,)])
def test_assign_arm_many_users_is_proportional_to_weights(weights: tuple[float, ...]) -> None:
    """The chi-square statistic of 20,000 users lies below the 99.9 % quantile of its distribution.

    The quantiles for 1 and 2 degrees of freedom are 10.83 and 13.82 (any table; -2 ln .001 for 2).
    """
    counts = Counter(assign(str(100_000 + n), *weights) for n in range(N_USERS))
    chi_square = sum((counts[f"arm{n}"] - N_USERS * w) ** 2 / (N_USERS * w) for n, w in enumerate(weights))
    assert chi_square < {1: 1e-9, 2: 10.83, 3: 13.82}[len(weights)]


def test_assign_arm_other_salt_is_independent() -> None:
    """Two experiments split the users independently: each of the four groups has a quarter.

    Chi-square with 3 degrees of freedom: below 16.27 in 99.9 % of cases.
    """
    groups = Counter((assign(str(n), 0.5, 0.5, salt="a"), assign(str(n), 0.5, 0.5, salt="b")) for n in range(N_USERS))
    assert len(groups) == 4
    assert sum((count - N_USERS / 4) ** 2 / (N_USERS / 4) for count in groups.values()) < 16.27


@given(st.text(), st.floats(0.01, 0.98), st.floats(0.001, 0.01))
def test_assign_arm_growing_last_arm_keeps_its_users(user_id: str, weight: float, growth: float) -> None:
    """A user of the canary stays there when its weight grows."""
    if assign(user_id, 1 - weight, weight) == "arm1":
        assert assign(user_id, 1 - weight - growth, weight + growth) == "arm1"


@given(st.text(st.characters()), st.lists(st.floats(0.001, 1), min_size=1, max_size=6))
def test_assign_arm_any_user_id_and_rounding_returns_an_arm(user_id: str, weights: list[float]) -> None:
    """Any text is assigned, also where the weights sum to slightly less than 1."""
    total = sum(weights)
    assert assign(user_id, *(w / total for w in weights)).startswith("arm")


def test_assign_arm_in_other_processes_is_the_same() -> None:
    """The assignment does not depend on the hash seed of the process."""
    code = (
        "from tests.registry.test_arm_assignment import assign\n"
        "print(','.join(assign(str(n), .3, .3, .4) for n in range(50)))"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(p for p in sys.path if p)},
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert outputs == {",".join(assign(str(n), 0.3, 0.3, 0.4) for n in range(50))}


def test_assign_arm_known_digest_returns_the_arm_computed_by_hand() -> None:
    """The point is the first 53 bits of the SHA-256 of salt, zero byte and user id, as a fraction.

    `printf 'salt\\0001' | sha256sum` begins with 2b9a2fab70e739d7, which is the fraction .17032.
    """
    assert assign("1", 0.1704, 0.8296) == "arm0"
    assert assign("1", 0.1703, 0.8297) == "arm1"


def test_choose_salt_same_arms_with_other_weights_keeps_the_salt() -> None:
    """A ramp keeps the experiment's salt; another version, name or order gets a new one."""
    before = make_arms(0.9, 0.1)
    assert choose_salt(make_arms(0.5, 0.5), before, "salt") == "salt"
    for arms in (make_arms(1.0), make_arms(0.9, 0.1)[::-1], (before[0], Arm("arm1", "other", 0.1))):
        assert choose_salt(arms, before, "salt") != "salt"
