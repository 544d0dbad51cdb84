"""Tests of the release document: it is checked before it is published and when it is read."""

from __future__ import annotations

import msgspec
import pytest
from tests.registry.test_arm_assignment import INVALID_ARMS

from marquee.errors import ReleaseError
from marquee.registry.arm_assignment import Arm
from marquee.registry.object_store.object_store import ObjectStore
from marquee.registry.release import (
    CURRENT,
    check_release,
    new_release,
    publish_release,
    read_current_release,
)


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
    file_store.put_new(CURRENT, b'{"format":2}')
    with pytest.raises(ReleaseError, match="format 2; this program reads format 1"):
        read_current_release(file_store)
