"""A release: its arms are checked, its document is read, and every user is assigned to an arm for ever."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marquee.errors import ReleaseError
from marquee.registry.object_store.object_store import ObjectStore
from marquee.registry.release import (
    CURRENT,
    Arm,
    Release,
    assign_arm,
    check_release,
    current_release,
    new_release,
    publish_release,
)


@pytest.mark.parametrize(
    "arms",
    [
        (),
        (Arm("a", "v", 0.5),),
        (Arm("a", "v", 1.5), Arm("b", "v", -0.5)),
        (Arm("a", "v", 1.0), Arm("b", "v", 0.0)),
        (Arm("a", "v", float("nan")),),
        (Arm("a", "v", 0.5), Arm("a", "w", 0.5)),
        (Arm("", "v", 1.0),),
        (Arm("Ä", "v", 1.0),),
        (Arm("a", "", 1.0),),
    ],
)
def test_arms_are_checked(file_store: ObjectStore, arms: tuple[Arm, ...]) -> None:
    """Names, versions and weights that make no sense are never published, and never read."""
    with pytest.raises(ReleaseError):
        publish_release(file_store, lambda before: new_release(arms, author="test", reason=""))
    assert list(file_store.list("")) == []
    bad = new_release(arms, author="test", reason="")
    if not any(arm.weight != arm.weight for arm in arms):  # JSON has no NaN.
        file_store.put_new(CURRENT, msgspec.json.encode(bad))
        with pytest.raises(ReleaseError):
            current_release(file_store)


def test_weights_may_be_rounded() -> None:
    """Ten tenths are a whole."""
    check_release(new_release(tuple(Arm(f"a{n}", "v", 0.1) for n in range(10)), author="t", reason=""))


@pytest.mark.parametrize("data", [b"", b"{}", b"[1]", b'{"format":1}', b"\xff\xfe"])
def test_a_release_that_cannot_be_read(file_store: ObjectStore, data: bytes) -> None:
    """The error names the document."""
    file_store.put_new(CURRENT, data)
    with pytest.raises(ReleaseError, match=CURRENT):
        current_release(file_store)


def test_a_future_release_is_refused(file_store: ObjectStore) -> None:
    """An old program does not guess at a new document."""
    file_store.put_new(CURRENT, b'{"format":2}')
    with pytest.raises(ReleaseError, match="format 2; this program reads format 1"):
        current_release(file_store)


def _release(*weights: float, salt: str = "salt") -> Release:
    arms = tuple(Arm(f"arm{n}", f"v{n}", w) for n, w in enumerate(weights))
    return new_release(arms, author="test", reason="", salt=salt)


@pytest.mark.parametrize("weights", [(0.5, 0.5), (0.9, 0.1), (0.2, 0.3, 0.5), (1.0,)])
def test_assignment_is_proportional(weights: tuple[float, ...]) -> None:
    """20,000 users fall into the arms by weight: chi-square below the 99.9 % point of its law.

    The points for 1 and 2 degrees of freedom are 10.83 and 13.82 (any table; -2 ln .001 for 2).
    """
    release, users = _release(*weights), 20_000
    counts = Counter(assign_arm(release, str(100_000 + n)).name for n in range(users))
    chi_square = sum((counts[f"arm{n}"] - users * w) ** 2 / (users * w) for n, w in enumerate(weights))
    assert chi_square < {1: 1e-9, 2: 10.83, 3: 13.82}[len(weights)]


def test_another_salt_deals_anew() -> None:
    """Two experiments split the users independently: of four groups each has a quarter.

    Chi-square with 3 degrees of freedom: below 16.27 in 99.9 % of cases.
    """
    one, other, users = _release(0.5, 0.5, salt="a"), _release(0.5, 0.5, salt="b"), 20_000
    groups = Counter((assign_arm(one, str(n)).name, assign_arm(other, str(n)).name) for n in range(users))
    assert len(groups) == 4
    assert sum((count - users / 4) ** 2 / (users / 4) for count in groups.values()) < 16.27


@given(st.text(), st.floats(0.01, 0.98), st.floats(0.001, 0.01))
def test_a_growing_arm_keeps_its_users(user_id: str, weight: float, more: float) -> None:
    """Whoever has the canary has it still when its share grows."""
    if assign_arm(_release(1 - weight, weight), user_id).name == "arm1":
        assert assign_arm(_release(1 - weight - more, weight + more), user_id).name == "arm1"


@given(st.text(st.characters()), st.lists(st.floats(0.001, 1), min_size=1, max_size=6))
def test_every_user_has_an_arm(user_id: str, weights: list[float]) -> None:
    """Whatever the id, and however the weights are rounded."""
    total = sum(weights)
    assert assign_arm(_release(*(w / total for w in weights)), user_id).name.startswith("arm")


def test_assignment_is_the_same_in_any_process() -> None:
    """A process with another hash seed deals the same, and so will next year's."""
    code = (
        "from tests.registry.test_release import _release, assign_arm\n"
        "print(','.join(assign_arm(_release(.3, .3, .4), str(n)).name for n in range(50)))"
    )
    answers = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(p for p in sys.path if p)},
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert answers == {",".join(assign_arm(_release(0.3, 0.3, 0.4), str(n)).name for n in range(50))}


def test_assignment_by_hand() -> None:
    """The first 53 bits of SHA-256 of salt, zero byte and user, as a fraction.

    `printf 'salt\\0001' | sha256sum` begins with 2b9a2fab70e739d7, which is .17032 of the whole.
    """
    assert assign_arm(_release(0.1704, 0.8296), "1").name == "arm0"
    assert assign_arm(_release(0.1703, 0.8297), "1").name == "arm1"
