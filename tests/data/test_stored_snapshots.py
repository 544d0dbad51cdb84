"""Expiry of snapshots in a DVC remote: what is old goes, what serves and what is shared stays."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from marquee.data import dvc_remote, stored_snapshots
from marquee.data.snapshot import ABOUT, LIVE, SnapshotInfo
from marquee.errors import ObjectStoreUnavailable, TrainingDataError
from marquee.registry.object_store.file_store import FileStore

NOW = datetime(2026, 11, 30, tzinfo=UTC)


def push(remote: FileStore, directory: Path, *, days_ago: int, live: bytes, database: bool = True) -> str:
    """Push a snapshot whose base data is the same in all; return the hash of its listing."""
    path = directory / f"{days_ago}-{database}"
    path.mkdir()
    about = SnapshotInfo(NOW - timedelta(days=days_ago), 1.0, 5.0, database, {})
    (path / ABOUT).write_bytes(msgspec.json.encode(about))
    (path / LIVE).write_bytes(live)
    (path / "base.parquet").write_bytes(b"base")
    return dvc_remote.push(remote, path)


class DyingStore(FileStore):
    """A store that is away after a number of deletions."""

    left = 99

    def delete(self, name: str) -> None:
        if self.left == 0:
            raise ObjectStoreUnavailable("the process was killed")
        self.left -= 1
        super().delete(name)


@pytest.mark.parametrize("deletions", [0, 1, 2, 99])
def test_expire_snapshots_deletes_old_ones_but_serving_and_shared_files(tmp_path: Path, deletions: int) -> None:
    """Old snapshots go with their live data, however often the run is killed; the others can be fetched whole."""
    remote = DyingStore(tmp_path / "remote")
    old = push(remote, tmp_path, days_ago=200, live=b"old")
    shared = push(remote, tmp_path, days_ago=199, live=b"new")
    serving = push(remote, tmp_path, days_ago=150, live=b"serving")
    base_only = push(remote, tmp_path, days_ago=300, live=b"", database=False)
    new = push(remote, tmp_path, days_ago=1, live=b"new")
    other = dvc_remote.push(remote, tmp_path / "1-True" / LIVE)
    remote.left = deletions
    before = NOW - timedelta(days=90)
    if deletions < 99:
        with pytest.raises(ObjectStoreUnavailable):
            stored_snapshots.expire_snapshots(remote, before, {serving})
        remote.left = 99
    stored_snapshots.expire_snapshots(remote, before, {serving})
    assert set(stored_snapshots.list_snapshots(remote)) == {serving, base_only, new}
    for number, digest in enumerate((serving, base_only, new)):
        dvc_remote.fetch(remote, digest, tmp_path / f"back{number}")
    assert dvc_remote.contains(remote, other)
    assert not dvc_remote.contains(remote, old)
    assert not dvc_remote.contains(remote, shared)
    assert not [name for name in remote.list("") if remote.get(name).data == b"old"]
    assert stored_snapshots.expire_snapshots(remote, before, {serving}) == 0


@pytest.mark.parametrize("listing", [b"", b"{}", b"\xff", b'[{"relpath": "a"}]', b"[" * 100_000])
def test_expire_snapshots_damaged_listing_keeps_no_other(tmp_path: Path, listing: bytes) -> None:
    """The others expire; a search for a user's data says which listing must be restored or deleted."""
    remote = FileStore(tmp_path / "remote")
    push(remote, tmp_path, days_ago=200, live=b"old")
    name = dvc_remote.object_name("0" * 32 + ".dir")
    remote.put_new(name, listing)
    assert stored_snapshots.expire_snapshots(remote, NOW - timedelta(days=90), set()) == 1
    with pytest.raises(TrainingDataError, match=f"{name}: restore them, or delete"):
        stored_snapshots.list_snapshots(remote)
