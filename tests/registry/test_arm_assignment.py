"""Tests of arms and assignment: valid weights, proportional fractions, and stickiness."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marquee.errors import ReleaseError
from marquee.registry.arm_assignment import OUTSIDE, Arm, assign_arm, check_arms

N_USERS = ENROL_USERS = 20_000


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

    The quantiles for 1 and 2 degrees of freedom are 10.83 and 13.82 (any table; -2 ln 0.001 for 2).
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


@settings(max_examples=12, deadline=None)
@given(
    st.text(min_size=1, max_size=20),
    st.lists(st.floats(0.05, 1), min_size=2, max_size=5),
    st.lists(st.floats(0.001, 1), min_size=2, max_size=4),
)
def test_enrol_growing_share_only_moves_users_from_outside(salt: str, raw: list[float], shares: list[float]) -> None:
    """No user changes arms while the enrolled share rises, and shares and arms have their sizes (5 standard errors).

    Enrolment and arm are independent: chi-square of a table of arm by enrolled, at p = 1e-6 for up to 4 degrees of
    freedom (33.4).
    """
    weights = [w / sum(raw) for w in raw]
    arms = make_arms(*weights)
    dealt = [assign_arm(arms, salt, str(n)).name for n in range(ENROL_USERS)]
    before = [OUTSIDE] * ENROL_USERS
    for share in sorted(shares):
        now = [assign_arm(arms, salt, str(n), share).name for n in range(ENROL_USERS)]
        assert all(b in (OUTSIDE, a) for b, a in zip(before, now, strict=True))
        inside = [name for name in now if name != OUTSIDE]
        assert abs(len(inside) - share * ENROL_USERS) <= 5 * (ENROL_USERS * share * (1 - share)) ** 0.5 + 1
        counts = Counter(inside)
        for arm in arms:
            spread = 5 * (len(inside) * arm.weight * (1 - arm.weight)) ** 0.5 + 1
            assert abs(counts[arm.name] - len(inside) * arm.weight) <= spread
        assert _chi_square(Counter(dealt), counts, len(inside)) < 33.4
        before = now


def _chi_square(dealt: Counter[str], counts: Counter[str], enrolled: int) -> float:
    """Return the statistic of independence of enrolment and arm."""
    total = 0.0
    for arm, users in dealt.items():
        for observed, part in ((counts[arm], enrolled), (users - counts[arm], ENROL_USERS - enrolled)):
            expected = users * part / ENROL_USERS
            total += (observed - expected) ** 2 / expected if expected else 0.0
    return total


def test_assign_arm_not_enrolled_gets_the_first_version() -> None:
    """A user outside the experiment is served as before, under the name of no arm."""
    outside = [assign_arm(make_arms(0.5, 0.5), "salt", str(n), 1e-6) for n in range(20)]
    assert {(arm.name, arm.version) for arm in outside} == {(OUTSIDE, "v0")}


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

    `printf 'salt\\0001' | sha256sum` begins with 2b9a2fab70e739d7, which is the fraction 0.17032.
    """
    assert assign("1", 0.1704, 0.8296) == "arm0"
    assert assign("1", 0.1703, 0.8297) == "arm1"


def test_assign_arm_of_enrolled_users_keeps_no_memory() -> None:
    """An answer pays two hashes: nothing is kept of a user, and a call allocates less than 2 KB."""
    arms = make_arms(0.5, 0.5)
    assign_arm(arms, "salt", "first", 0.2)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        for number in range(2_000):
            assign_arm(arms, "salt", str(number), 0.2)
        after, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 1_000
    assert peak - before < 2_000
