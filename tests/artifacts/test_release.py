"""Releases: published one after the other whoever publishes, assigned for ever, rolled back at will."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marquee.artifacts.object_store import Content, ObjectStore, Version, connect
from marquee.artifacts.promotion import canary, promote, rollback, split
from marquee.artifacts.release import (
    CURRENT,
    Arm,
    Release,
    assign,
    changed,
    check,
    current,
    new_release,
    numbered,
    past,
    publish,
)
from marquee.errors import (
    ArtifactRefused,
    ObjectNotFound,
    ObjectStoreUnavailable,
    PreconditionFailed,
    ReleaseError,
)

from .conftest import Place
from .models import forge, made_model, overwrite, stored

AUTHOR: dict[str, Any] = {"author": "test"}


def _serving(version: str) -> Callable[[Release | None], Release]:
    return lambda before: new_release(
        (Arm("control", version, 1.0),), author="test", reason=version, after=before
    )


def _reasons(store: ObjectStore) -> list[str]:
    return [r.reason for r in past(store)]


def test_before_the_first_release(store: ObjectStore) -> None:
    """There is none, and that is no fault."""
    assert list(past(store)) == []
    with pytest.raises(ObjectNotFound):
        current(store)
    with pytest.raises(ReleaseError, match="no release 1"):
        numbered(store, 1)


def test_releases_are_numbered_and_kept(store: ObjectStore) -> None:
    """Each publication is the next number, serves, and stays readable; on every kind of store."""
    for number in (1, 2, 3):
        published = publish(store, _serving(f"v{number}"))
        assert published.number == number
        found, version = current(store)
        assert found == published == numbered(store, number)
        assert changed(store, version) is None
    assert _reasons(store) == ["v3", "v2", "v1"]
    assert found.previous == 2


def test_polling_sees_a_change(file_store: ObjectStore) -> None:
    """The holder of an older release gets the newer one."""
    publish(file_store, _serving("v1"))
    _, seen = current(file_store)
    publish(file_store, _serving("v2"))
    newer = changed(file_store, seen)
    assert newer == current(file_store)


def test_racing_publishers_each_get_a_number(place: Place) -> None:
    """Nobody's release is lost, none doubled, and each was made from the one before it."""
    publishers, each = 4, 2 if place.scheme == "s3" else 5
    numbers: list[int] = []
    start = threading.Barrier(publishers)

    def run(publisher: int) -> None:
        store = place.connect()
        start.wait()
        for turn in range(each):
            numbers.append(publish(store, _serving(f"{publisher}.{turn}")).number)

    threads = [threading.Thread(target=run, args=(p,)) for p in range(publishers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    total = publishers * each
    assert sorted(numbers) == list(range(1, total + 1))
    releases = list(past(place.connect()))
    assert [r.number for r in releases] == list(range(total, 0, -1))
    assert [r.previous for r in releases] == [*range(total - 1, 0, -1), None]
    assert len(set(_reasons(place.connect()))) == total


class _DyingStore:
    """Dies when it should write the object ``at``."""

    def __init__(self, store: ObjectStore, at: str) -> None:
        self._store, self._at = store, at

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def put_new(self, name: str, data: Content) -> Version:
        if name == self._at:
            raise ObjectStoreUnavailable("killed")
        return self._store.put_new(name, data)

    def replace(self, name: str, data: bytes, expected: Version | None) -> Version:
        if name == self._at:
            raise ObjectStoreUnavailable("killed")
        return self._store.replace(name, data, expected)


@pytest.mark.parametrize("first", [True, False])
def test_a_publisher_killed_before_its_number_is_taken(file_store: ObjectStore, first: bool) -> None:
    """Nothing has happened."""
    if not first:
        publish(file_store, _serving("v1"))
    number = 1 if first else 2
    dying: Any = _DyingStore(file_store, f"releases/{number}.json")
    with pytest.raises(ObjectStoreUnavailable):
        publish(dying, _serving("lost"))
    assert publish(file_store, _serving("next")).number == number
    assert "lost" not in _reasons(file_store)


@pytest.mark.parametrize("first", [True, False])
def test_a_publisher_killed_before_the_swap(file_store: ObjectStore, first: bool) -> None:
    """What serves is as before; the next publisher finishes the work and adds its own to it."""
    if not first:
        publish(file_store, _serving("v1"))
    number = 1 if first else 2
    dying: Any = _DyingStore(file_store, CURRENT)
    with pytest.raises(ObjectStoreUnavailable):
        publish(dying, _serving("half"))
    if not first:
        assert current(file_store)[0].reason == "v1"
    seen: list[Release | None] = []

    def change(before: Release | None) -> Release:
        seen.append(before)
        return _serving("next")(before)

    published = publish(file_store, change)
    assert published.number == number + 1
    assert [r.reason for r in seen if r] == ["half"]
    assert _reasons(file_store)[:2] == ["next", "half"]


def test_promoting_again_after_a_kill_is_one_release(file_store: ObjectStore) -> None:
    """A job that is started again after it was killed in the swap publishes nothing twice."""
    version = stored(file_store)
    with pytest.raises(ObjectStoreUnavailable):
        promote(_DyingStore(file_store, CURRENT), version, **AUTHOR)  # type: ignore[arg-type]
    assert promote(file_store, version, **AUTHOR).number == 1
    assert current(file_store)[0].number == 1


_PUBLISH_FOR_EVER = """
import itertools, sys
from marquee.artifacts.object_store import connect
from marquee.artifacts.release import Arm, new_release, publish
store = connect(sys.argv[1])
for turn in itertools.count():
    reason = f"{sys.argv[2]}.{turn}"
    publish(store, lambda before: new_release((Arm("control", "v", 1.0),), author="t", reason=reason, after=before))
    print(reason, flush=True)
"""


def test_publishers_that_are_killed_lose_nothing(tmp_path: Path) -> None:
    """Processes publish at once and are killed anywhere; the next publisher goes on.

    Every release that one of them has reported is there once, in one unbroken chain.
    """
    reported: list[str] = []
    for generation in range(4):
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", _PUBLISH_FOR_EVER, tmp_path.as_uri(), f"{generation}.{n}"],
                stdout=subprocess.PIPE,
                text=True,
            )
            for n in range(2)
        ]
        for process in processes:
            assert process.stdout
            reported += [process.stdout.readline().strip() for _ in range(3 + generation)]
        for process in processes:
            process.kill()
            assert process.stdout
            # A line that was cut by the kill is no report.
            reported += [line.strip() for line in process.stdout if line.endswith("\n")]
            process.wait()
            process.stdout.close()
    store = connect(tmp_path.as_uri())
    last = publish(store, _serving("last"))
    releases = list(past(store))
    assert releases[0] == last
    assert [r.number for r in releases] == list(range(last.number, 0, -1))
    assert [r.previous for r in releases] == [*range(last.number - 1, 0, -1), None]
    reasons = Counter(_reasons(store))
    assert set(reasons.values()) == {1}
    assert set(reported) <= set(reasons)


class _AlwaysLater:
    """Another publisher is always faster."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def put_new(self, name: str, data: Content) -> Version:
        raise PreconditionFailed("another was first")


def test_publishing_ends(file_store: ObjectStore) -> None:
    """A publisher that never gets a number gives up, with a reason."""
    later: Any = _AlwaysLater(file_store)
    with pytest.raises(ReleaseError, match="faster"):
        publish(later, _serving("v1"))


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
        publish(file_store, lambda before: new_release(arms, author="test", reason=""))
    assert list(file_store.list("")) == []
    bad = new_release(arms, author="test", reason="")
    if not any(arm.weight != arm.weight for arm in arms):  # JSON has no NaN.
        file_store.put_new(CURRENT, msgspec.json.encode(bad))
        with pytest.raises(ReleaseError):
            current(file_store)


def test_weights_may_be_rounded() -> None:
    """Ten tenths are a whole."""
    check(new_release(tuple(Arm(f"a{n}", "v", 0.1) for n in range(10)), author="t", reason=""))


@pytest.mark.parametrize("data", [b"", b"{}", b"[1]", b'{"format":1}', b"\xff\xfe"])
def test_a_release_that_cannot_be_read(file_store: ObjectStore, data: bytes) -> None:
    """The error names the document."""
    file_store.put_new(CURRENT, data)
    with pytest.raises(ReleaseError, match=CURRENT):
        current(file_store)


def test_a_future_release_is_refused(file_store: ObjectStore) -> None:
    """An old program does not guess at a new document."""
    file_store.put_new(CURRENT, b'{"format":2}')
    with pytest.raises(ReleaseError, match="format 2; this program reads format 1"):
        current(file_store)


def _release(*weights: float, salt: str = "salt") -> Release:
    arms = tuple(Arm(f"arm{n}", f"v{n}", w) for n, w in enumerate(weights))
    return new_release(arms, author="test", reason="", salt=salt)


@pytest.mark.parametrize("weights", [(0.5, 0.5), (0.9, 0.1), (0.2, 0.3, 0.5), (1.0,)])
def test_assignment_is_proportional(weights: tuple[float, ...]) -> None:
    """20,000 users fall into the arms by weight: chi-square below the 99.9 % point of its law.

    The points for 1 and 2 degrees of freedom are 10.83 and 13.82 (any table; -2 ln .001 for 2).
    """
    release, users = _release(*weights), 20_000
    counts = Counter(assign(release, str(100_000 + n)).name for n in range(users))
    chi_square = sum((counts[f"arm{n}"] - users * w) ** 2 / (users * w) for n, w in enumerate(weights))
    assert chi_square < {1: 1e-9, 2: 10.83, 3: 13.82}[len(weights)]


def test_another_salt_deals_anew() -> None:
    """Two experiments split the users independently: of four groups each has a quarter.

    Chi-square with 3 degrees of freedom: below 16.27 in 99.9 % of cases.
    """
    one, other, users = _release(0.5, 0.5, salt="a"), _release(0.5, 0.5, salt="b"), 20_000
    groups = Counter((assign(one, str(n)).name, assign(other, str(n)).name) for n in range(users))
    assert len(groups) == 4
    assert sum((count - users / 4) ** 2 / (users / 4) for count in groups.values()) < 16.27


@given(st.text(), st.floats(0.01, 0.98), st.floats(0.001, 0.01))
def test_a_growing_arm_keeps_its_users(user_id: str, weight: float, more: float) -> None:
    """Whoever has the canary has it still when its share grows."""
    if assign(_release(1 - weight, weight), user_id).name == "arm1":
        assert assign(_release(1 - weight - more, weight + more), user_id).name == "arm1"


@given(st.text(st.characters()), st.lists(st.floats(0.001, 1), min_size=1, max_size=6))
def test_every_user_has_an_arm(user_id: str, weights: list[float]) -> None:
    """Whatever the id, and however the weights are rounded."""
    total = sum(weights)
    assert assign(_release(*(w / total for w in weights)), user_id).name.startswith("arm")


def test_assignment_is_the_same_in_any_process() -> None:
    """A process with another hash seed deals the same, and so will next year's."""
    code = (
        "from tests.artifacts.test_release import _release, assign\n"
        "print(','.join(assign(_release(.3, .3, .4), str(n)).name for n in range(50)))"
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
    assert answers == {",".join(assign(_release(0.3, 0.3, 0.4), str(n)).name for n in range(50))}


def test_assignment_by_hand() -> None:
    """The first 53 bits of SHA-256 of salt, zero byte and user, as a fraction.

    `printf 'salt\\0001' | sha256sum` begins with 2b9a2fab70e739d7, which is .17032 of the whole.
    """
    assert assign(_release(0.1704, 0.8296), "1").name == "arm0"
    assert assign(_release(0.1703, 0.8297), "1").name == "arm1"


@pytest.fixture
def versions(file_store: ObjectStore) -> list[str]:
    """Four artifacts that may serve."""
    return [stored(file_store, made_model(seed=seed)) for seed in range(4)]


def _serves(store: ObjectStore) -> list[str]:
    return [arm.version for arm in current(store)[0].arms]


def test_promote_serves_to_everybody(file_store: ObjectStore, versions: list[str]) -> None:
    """One arm of weight 1; doing it again changes nothing."""
    promote(file_store, versions[0], author="ann", reason="first")
    published = promote(file_store, versions[1], author="bob", reason="better")
    assert (published.number, published.author, published.reason) == (2, "bob", "better")
    assert published.arms == (Arm("control", versions[1], 1.0),)
    assert promote(file_store, versions[1], **AUTHOR) == published
    assert current(file_store)[0].number == 2


def test_promote_of_what_is_not_there_is_refused(file_store: ObjectStore, versions: list[str]) -> None:
    """The error names the version; what serves stays."""
    promote(file_store, versions[0], **AUTHOR)
    for wrong in ("no-such-version", "20200101T000000-12345678"):
        with pytest.raises(ReleaseError, match=f"no artifact '{wrong}'"):
            promote(file_store, wrong, **AUTHOR)
    assert _serves(file_store) == versions[:1]


def test_promote_of_a_damaged_artifact_is_refused(file_store: ObjectStore, versions: list[str]) -> None:
    """A wrong hash, a wrong manifest or wrong answers: none of them is released."""
    promote(file_store, versions[0], **AUTHOR)
    overwrite(file_store, versions[1], "popularity.npy", b"other")
    overwrite(file_store, versions[2], "manifest.json", b"{}")
    other = file_store.get(f"models/{versions[0]}/rank_items.npy").data
    forge(file_store, versions[3], "rank_items.npy", other)
    for version in versions[1:]:
        with pytest.raises(ArtifactRefused, match="was not released"):
            promote(file_store, version, **AUTHOR)
        with pytest.raises(ArtifactRefused, match="was not released"):
            canary(file_store, version, weight=0.1, **AUTHOR)
    assert current(file_store)[0].number == 1


def test_canary(file_store: ObjectStore, versions: list[str]) -> None:
    """A share of the users gets the new version; raising the share keeps the experiment's salt."""
    with pytest.raises(ReleaseError, match="promote a version first"):
        canary(file_store, versions[1], weight=0.1, **AUTHOR)
    promote(file_store, versions[0], **AUTHOR)
    first = canary(file_store, versions[1], weight=0.1, **AUTHOR)
    assert first.arms == (Arm("control", versions[0], 0.9), Arm("canary", versions[1], 0.1))
    more = canary(file_store, versions[1], weight=0.3, **AUTHOR)
    assert more.arms == (Arm("control", versions[0], 0.7), Arm("canary", versions[1], 0.3))
    assert more.salt == first.salt
    another = canary(file_store, versions[2], weight=0.3, **AUTHOR)
    assert another.salt != first.salt
    assert promote(file_store, versions[1], **AUTHOR).arms == (Arm("control", versions[1], 1.0),)


@pytest.mark.parametrize("weight", [0, 1, -0.1, 1.1, float("nan"), float("inf")])
def test_a_canary_needs_a_share(file_store: ObjectStore, versions: list[str], weight: float) -> None:
    """Nothing and everything are no canaries."""
    promote(file_store, versions[0], **AUTHOR)
    with pytest.raises(ReleaseError, match="between 0 and 1"):
        canary(file_store, versions[1], weight=weight, **AUTHOR)


def test_split_into_any_arms(file_store: ObjectStore, versions: list[str]) -> None:
    """An A/B/C test; its weights are checked."""
    a, b, c, _ = versions
    published = split(file_store, {"a": (a, 0.5), "b": (b, 0.25), "c": (c, 0.25)}, **AUTHOR)
    assert [arm.name for arm in published.arms] == ["a", "b", "c"]
    with pytest.raises(ReleaseError, match="sum to 1"):
        split(file_store, {"a": (a, 0.5), "b": (b, 0.4)}, **AUTHOR)


def test_rollback_goes_back_step_by_step(file_store: ObjectStore, versions: list[str]) -> None:
    """Each rollback is a release of its own that goes one release further back, to the first."""
    for version in versions:
        promote(file_store, version, **AUTHOR)
    for expected in (versions[2], versions[1], versions[0]):
        rollback(file_store, **AUTHOR)
        assert _serves(file_store) == [expected]
    with pytest.raises(ReleaseError, match="none before it"):
        rollback(file_store, **AUTHOR)
    newest = current(file_store)[0]
    assert (newest.number, newest.restores, newest.reason) == (7, 1, "rolled back to 1")


def test_rollback_after_a_rollback_and_a_promotion(file_store: ObjectStore, versions: list[str]) -> None:
    """What was rolled back is not gone back to; what served then is."""
    for version in versions[:3]:
        promote(file_store, version, **AUTHOR)
    rollback(file_store, **AUTHOR)
    promote(file_store, versions[3], **AUTHOR)
    for expected in (versions[1], versions[0]):
        rollback(file_store, **AUTHOR)
        assert _serves(file_store) == [expected]


def test_rollback_to_a_number(file_store: ObjectStore, versions: list[str]) -> None:
    """Any release of the past may serve again, forwards too."""
    for version in versions[:3]:
        promote(file_store, version, **AUTHOR)
    rollback(file_store, to=1, **AUTHOR)
    assert _serves(file_store) == [versions[0]]
    rollback(file_store, to=3, **AUTHOR)
    assert _serves(file_store) == [versions[2]]
    rollback(file_store, **AUTHOR)
    assert _serves(file_store) == [versions[1]]
    for wrong, why in ((99, "no release 99"), (6, "the one that serves")):
        with pytest.raises(ReleaseError, match=why):
            rollback(file_store, to=wrong, **AUTHOR)


def test_rollback_of_a_canary_restores_everybody(file_store: ObjectStore, versions: list[str]) -> None:
    """And going back to an experiment gives each user the arm he had."""
    promote(file_store, versions[0], **AUTHOR)
    experiment = canary(file_store, versions[1], weight=0.5, **AUTHOR)
    promote(file_store, versions[1], **AUTHOR)
    again = rollback(file_store, **AUTHOR)
    assert [assign(again, str(n)) for n in range(99)] == [assign(experiment, str(n)) for n in range(99)]
    rollback(file_store, **AUTHOR)
    assert _serves(file_store) == [versions[0]]


def test_rollback_to_what_is_lost_is_refused(file_store: ObjectStore, versions: list[str]) -> None:
    """An artifact that was deleted or damaged since cannot be brought back; what serves stays."""
    for version in versions[:3]:
        promote(file_store, version, **AUTHOR)
    overwrite(file_store, versions[1], "item_biases.npy", b"")
    with pytest.raises(ArtifactRefused, match="was not released"):
        rollback(file_store, **AUTHOR)
    for name in list(file_store.list(f"models/{versions[0]}/")):
        file_store.delete(name)
    with pytest.raises(ReleaseError, match="no artifact"):
        rollback(file_store, to=1, **AUTHOR)
    assert _serves(file_store) == [versions[2]]


def test_rollback_before_the_first_release(file_store: ObjectStore) -> None:
    """There is nothing to go back from."""
    with pytest.raises(ReleaseError, match="no release yet"):
        rollback(file_store, **AUTHOR)


def test_a_release_on_every_store(store: ObjectStore) -> None:
    """Promote, canary and rollback on each kind of store, from artifacts kept there."""
    one, other = stored(store), stored(store, made_model(seed=1))
    promote(store, one, **AUTHOR)
    canary(store, other, weight=0.25, **AUTHOR)
    rollback(store, **AUTHOR)
    assert _serves(store) == [one]
    assert [r.restores for r in past(store)] == [1, None, None]
