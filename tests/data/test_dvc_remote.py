"""Tests of the DVC remote in each kind of object store."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from marquee.data import dvc_remote
from marquee.errors import ObjectNotFound, TrainingDataError
from marquee.registry.object_store.file_store import FileStore
from marquee.registry.object_store.object_store import ObjectStore


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Two files, one of them empty, in two folders."""
    (tmp_path / "kept/deep").mkdir(parents=True)
    (tmp_path / "kept/b.parquet").write_bytes(b"\0some bytes")
    (tmp_path / "kept/deep/a.json").write_bytes(b"")
    return tmp_path / "kept"


def test_push_and_fetch_directory_round_trips(store: ObjectStore, directory: Path, tmp_path: Path) -> None:
    """A directory comes back file by file under the hash that DVC gives it; pushing twice writes nothing."""
    content = dvc_remote.push(store, directory)
    assert content == dvc_remote.hash_path(directory)
    assert content.endswith(".dir")
    before = sorted(store.list(""))
    assert dvc_remote.push(store, directory) == content
    assert sorted(store.list("")) == before
    assert len(before) == 3
    dvc_remote.fetch(store, content, tmp_path / "back")
    back = {name: path.read_bytes() for name, path in dvc_remote.iterate_files(tmp_path / "back")}
    assert back == {"b.parquet": b"\0some bytes", "deep/a.json": b""}


def test_push_and_fetch_single_file_round_trips(store: ObjectStore, directory: Path, tmp_path: Path) -> None:
    """A file is known by the MD5 of its bytes."""
    content = dvc_remote.push(store, directory / "b.parquet")
    assert content == hashlib.md5(b"\0some bytes").hexdigest()
    dvc_remote.fetch(store, content, tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == b"\0some bytes"


def test_fetch_unknown_hash_raises(file_store: ObjectStore, tmp_path: Path) -> None:
    """The error names the hash, and no file appears."""
    assert not dvc_remote.contains(file_store, "ab" * 16)
    for content in ("ab" * 16, "ab" * 16 + ".dir"):
        with pytest.raises(ObjectNotFound):
            dvc_remote.fetch(file_store, content, tmp_path / "back")
        assert not (tmp_path / "back").exists()


@pytest.mark.parametrize("of_listing", [False, True])
def test_fetch_damaged_content_raises(tmp_path: Path, directory: Path, of_listing: bool) -> None:
    """One byte of a file or of the listing differs: the error says so, and no file appears."""
    store = FileStore(tmp_path / "objects")
    content = dvc_remote.push(store, directory)
    name = content if of_listing else dvc_remote.hash_file(directory / "b.parquet")
    path = tmp_path / f"objects/files/md5/{name[:2]}/{name[2:]}"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(TrainingDataError, match=f"content of {name} in the remote has another hash"):
        dvc_remote.fetch(store, content, tmp_path / "back")
    assert not (tmp_path / "back").exists()


def test_fetch_listing_with_path_outside_is_refused(file_store: ObjectStore, tmp_path: Path) -> None:
    """A listing that names a file outside of its directory is refused."""
    listing = b'[{"md5": "d41d8cd98f00b204e9800998ecf8427e", "relpath": "../escaped"}]'
    content = hashlib.md5(listing).hexdigest()
    file_store.put_new(f"files/md5/{content[:2]}/{content[2:]}.dir", listing)
    with pytest.raises(TrainingDataError, match="outside its directory"):
        dvc_remote.fetch(file_store, f"{content}.dir", tmp_path / "back")
    assert not (tmp_path / "escaped").exists()
