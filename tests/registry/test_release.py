"""Tests of the release document: it is checked before it is published and when it is read."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
import pytest
from tests.registry.test_arm_assignment import INVALID_ARMS

from marquee.errors import ReleaseError
from marquee.registry.arm_assignment import Arm
from marquee.registry.object_store.object_store import ObjectStore
from marquee.registry.release import (
    CURRENT,
    Release,
    new_release,
    publish_release,
    read_current_release,
)
from marquee.registry.release_rules import check_release


@pytest.mark.parametrize("arms", INVALID_ARMS)
def test_release_with_invalid_arms_is_neither_published_nor_read(
    file_store: ObjectStore, arms: tuple[Arm, ...]
) -> None:
    """Publishing stores nothing, and a document that another program wrote is refused."""
    bad = new_release(arms, author="test", reason="")
    with pytest.raises(ReleaseError):
        publish_release(file_store, lambda before: bad)
    assert list(file_store.list("")) == []
    if not any(arm.weight != arm.weight for arm in arms):  # JSON has no NaN.
        file_store.put_new(CURRENT, msgspec.json.encode(bad))
        with pytest.raises(ReleaseError):
            read_current_release(file_store)


def test_check_release_without_salt_raises() -> None:
    """A release needs a salt; :func:`new_release` makes a random one."""
    release = new_release((Arm("a", "v", 1.0),), author="test", reason="")
    check_release(release)
    with pytest.raises(ReleaseError, match="salt"):
        check_release(msgspec.structs.replace(release, salt=""))


@pytest.mark.parametrize("data", [b"", b"{}", b"[1]", b'{"format":1}', b"\xff\xfe"])
def test_read_current_release_malformed_document_raises_with_its_name(file_store: ObjectStore, data: bytes) -> None:
    """The error names the document."""
    file_store.put_new(CURRENT, data)
    with pytest.raises(ReleaseError, match=CURRENT):
        read_current_release(file_store)


def test_read_current_release_newer_format_raises(file_store: ObjectStore) -> None:
    """An old program does not guess at a newer document."""
    file_store.put_new(CURRENT, b'{"format":5}')
    with pytest.raises(ReleaseError, match="format 5; this program reads format 4"):
        read_current_release(file_store)


FORMAT_1 = b"""{
 "format": 1,
 "number": 7,
 "created": "2026-03-02T12:00:00Z",
 "author": "ann",
 "reason": "",
 "salt": "0011223344556677",
 "arms": [
  {
   "name": "control",
   "version": "v0",
   "weight": 0.9
  },
  {
   "name": "canary",
   "version": "v1",
   "weight": 0.1
  }
 ],
 "previous": 6,
 "manifests": {},
 "restores": null,
 "paused": false
}"""


def test_format_1_document_assigns_and_is_written_as_before(file_store: ObjectStore) -> None:
    """The bytes are those of an older program; the arms follow from the cumulative weights and one hash."""
    file_store.put_new(CURRENT, FORMAT_1)
    release = read_current_release(file_store)[0]
    for user in map(str, range(300)):
        digest = hashlib.sha256(f"0011223344556677\0{user}".encode()).digest()
        point = (int.from_bytes(digest[:8], "big") >> 11) / 2**53
        assert release.assign(user).name == ("control" if point < 0.9 else "canary")
    again = publish_release(file_store, lambda before: msgspec.structs.replace(release, previous=6))
    written = file_store.get(CURRENT).data
    assert written == FORMAT_1.replace(b'"number": 7', b'"number": %d' % again.number)


def _experiment(**changes: Any) -> Release:
    arms = (Arm("control", "v0", 0.5), Arm("canary", "v1", 0.5))
    first = new_release(arms, author="test", reason="", salt="fixed")
    return msgspec.structs.replace(first, **{"format": 2, "experiment": "trend", "enrolled": 0.2, **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"salt": "other"}, "stay as they are"),
        ({"arms": (Arm("control", "v0", 0.6), Arm("canary", "v1", 0.4))}, "stay as they are"),
        ({"arms": (Arm("canary", "v1", 0.5), Arm("control", "v0", 0.5))}, "stay as they are"),
        ({"arms": (Arm("control", "v0", 0.5), Arm("new", "v1", 0.5))}, "stay as they are"),
        ({"enrolled": 0.19}, "may only grow"),
    ],
)
def test_publish_change_of_a_running_split_is_refused(
    file_store: ObjectStore, changes: dict[str, Any], message: str
) -> None:
    """Another salt, weight, order or name, and fewer enrolled users; nothing is written."""
    publish_release(file_store, lambda before: _experiment())
    with pytest.raises(ReleaseError, match=message):
        publish_release(file_store, lambda before: _experiment(**changes))
    assert read_current_release(file_store)[0].number == 1


def test_publish_more_enrolled_or_another_version_is_a_step_of_the_experiment(file_store: ObjectStore) -> None:
    """A ramp, and retrained models in all arms; after the experiment any split may follow."""
    publish_release(file_store, lambda before: _experiment())
    publish_release(file_store, lambda before: _experiment(enrolled=0.4))
    arms = (Arm("control", "v2", 0.5), Arm("canary", "v3", 0.5))
    assert publish_release(file_store, lambda before: _experiment(enrolled=0.4, arms=arms)).number == 3
    assert publish_release(file_store, lambda before: _experiment(salt="other", experiment="next")).number == 4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"experiment": ""}, "name of an experiment"),
        ({"experiment": "Has spaces"}, "name of an experiment"),
        ({"enrolled": 0.0}, "enrolled share"),
        ({"enrolled": 1.5}, "enrolled share"),
        ({"arms": (Arm("control", "v0", 1.0),)}, "two arms or more"),
        ({"arms": (Arm("outside", "v0", 0.5), Arm("b", "v1", 0.5))}, "none of them called outside"),
        ({"format": 1}, "has no experiment"),
    ],
)
def test_check_release_invalid_experiment_raises(changes: dict[str, Any], message: str) -> None:
    """The error says what is valid."""
    check_release(_experiment())
    with pytest.raises(ReleaseError, match=message):
        check_release(_experiment(**changes))
