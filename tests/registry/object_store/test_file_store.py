"""Tests of the file store alone: several processes, kills, and nothing outside its directory."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from marquee.errors import ObjectNotFound, ObjectStoreError, ObjectStoreUnavailable, PreconditionFailed
from marquee.registry.object_store.connect import connect
from marquee.registry.object_store.file_store import FileStore

_COUNT = """
import sys
from marquee.registry.object_store.connect import connect
from marquee.errors import PreconditionFailed
store = connect(sys.argv[1])
done = 0
while done < 25:
    before = store.get("count")
    try:
        store.replace("count", str(int(before.data) + 1).encode(), before.version)
        done += 1
    except PreconditionFailed:
        pass
"""
_WRITE_FOR_EVER = """
import sys
from marquee.registry.object_store.connect import connect
store = connect(sys.argv[1])
data, version = b"", None
while True:
    version = store.replace("a", str(len(data)).encode() * 100_000, version)
    data += b"."
    print("written", flush=True)
"""
_HOLD_THE_LOCK = """
import fcntl, sys, time
from pathlib import Path
lock = (Path(sys.argv[1]) / ".lock").open("ab")
fcntl.flock(lock, fcntl.LOCK_EX)
print("held", flush=True)
time.sleep(60)
"""


def _python(code: str, argument: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", code, argument], stdout=subprocess.PIPE, text=True)


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    assert process.stdout
    process.stdout.close()


def test_replace_concurrent_processes_lose_no_update(tmp_path: Path) -> None:
    """Compare-and-swap holds between processes as between threads."""
    store = connect(tmp_path.as_uri())
    store.put_new("count", b"0")
    processes = [_python(_COUNT, tmp_path.as_uri()) for _ in range(3)]
    assert [p.wait(60) for p in processes] == [0, 0, 0]
    for process in processes:
        _end(process)
    assert store.get("count").data == b"75"


@pytest.mark.parametrize("writes", [1, 2, 5, 9])
def test_replace_killed_writer_leaves_a_complete_object(tmp_path: Path, writes: int) -> None:
    """The object is that of one of its writes, and other processes can write."""
    process = _python(_WRITE_FOR_EVER, tmp_path.as_uri())
    assert process.stdout
    for _ in range(writes):
        process.stdout.readline()
    _end(process)
    store = connect(tmp_path.as_uri(), timeout_s=5)
    found = store.get("a")
    number = found.data[: len(found.data) // 100_000]
    assert int(number) >= writes - 1
    assert found.data == number * 100_000
    store.replace("a", b"mine", found.version)
    assert list(store.list("")) == ["a"]


def test_lock_of_a_killed_process_is_released(tmp_path: Path) -> None:
    """A lock does not outlive the process that held it."""
    process = _python(_HOLD_THE_LOCK, str(tmp_path))
    assert process.stdout
    assert process.stdout.readline() == "held\n"
    with pytest.raises(ObjectStoreUnavailable, match="holds the lock"):
        FileStore(tmp_path, lock_timeout_s=0.05).put_new("a", b"1")
    os.kill(process.pid, signal.SIGKILL)
    _end(process)
    FileStore(tmp_path, lock_timeout_s=5).put_new("a", b"1")


def test_lock_held_open_by_a_fork_is_released(tmp_path: Path) -> None:
    """A child forked during a write does not block later writers."""
    store = FileStore(tmp_path, lock_timeout_s=5)
    with store._lock():
        copy = os.dup(_lock_descriptor(tmp_path))  # As in a fork: the same open file description.
    try:
        store.put_new("a", b"1")
    finally:
        os.close(copy)


def _lock_descriptor(directory: Path) -> int:
    own = Path("/proc/self/fd")
    lock = str(directory / ".lock")
    return next(int(fd.name) for fd in own.iterdir() if os.path.realpath(fd) == lock)


def test_reads_need_no_lock(tmp_path: Path) -> None:
    """Reading works while another process holds the lock."""
    store = FileStore(tmp_path)
    version = store.put_new("a", b"1")
    with (tmp_path / ".lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert store.get("a").version == version
        assert store.read_range("a", 0, 1) == b"1"
        assert list(store.list("")) == ["a"]


def test_links_out_of_the_directory_are_refused(tmp_path: Path) -> None:
    """A link inside the directory gives no access to files outside it."""
    (tmp_path / "secret").write_text("secret")
    root = tmp_path / "objects"
    root.mkdir()
    (root / "out").symlink_to(tmp_path)
    (root / "one").symlink_to(tmp_path / "secret")
    store = FileStore(root)
    for name in ("out/secret", "one"):
        for call in (store.get, store.delete, lambda n: store.put_new(n, b"")):
            with pytest.raises(ObjectStoreError, match="is a link out of"):
                call(name)
    assert (tmp_path / "secret").read_text() == "secret"


def test_put_name_below_an_object_is_refused(tmp_path: Path) -> None:
    """A file cannot be a directory as well; the error has the name."""
    store = FileStore(tmp_path)
    store.put_new("a", b"1")
    with pytest.raises(ObjectStoreError, match="'a/b'"):
        store.put_new("a/b", b"2")
    store.put_new("c/d", b"1")
    with pytest.raises(ObjectStoreError, match="'c'"):
        store.put_new("c", b"2")
    for name in ("a/b", "c"):
        with pytest.raises(ObjectNotFound):
            store.get(name)
        store.delete(name)
    assert list(store.list("")) == ["a", "c/d"]


def test_put_directory_cannot_be_created_raises(tmp_path: Path) -> None:
    """The error says why."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ObjectStoreError, match="cannot write 'a'"):
        FileStore(tmp_path / "file" / "objects").put_new("a", b"")


def test_reads_create_no_directory(tmp_path: Path) -> None:
    """Only a write creates the directory."""
    store = FileStore(tmp_path / "objects")
    with pytest.raises(ObjectNotFound):
        store.get("a")
    assert list(store.list("")) == []
    store.delete("a")
    assert not (tmp_path / "objects").exists()


@contextmanager
def _as_ordinary_user() -> Iterator[None]:
    """Drop the superuser's rights for the block."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(before)


def test_permission_denied_is_an_object_store_error(tmp_path: Path) -> None:
    """Files and directories of another user, in reading and in writing."""
    store = FileStore(tmp_path)
    store.put_new("a", b"1")
    (tmp_path / "a").chmod(0)
    (tmp_path / ".writing").chmod(0o500)
    with _as_ordinary_user():
        for call in (lambda: store.get("a"), lambda: store.put_new("b", b"1")):
            with pytest.raises(ObjectStoreError, match="Permission denied"):
                call()


def test_connect_escaped_url_is_decoded(tmp_path: Path) -> None:
    """Blanks, percent signs and accents."""
    directory = tmp_path / "a b%é"
    connect(directory.as_uri()).put_new("x", b"1")
    assert (directory / "x").read_bytes() == b"1"


def test_put_deletes_stale_temporary_files(tmp_path: Path) -> None:
    """Temporary files are deleted once they are a day old; younger ones may be in use."""
    store = FileStore(tmp_path)
    store.put_new("a", b"1")
    old, young = tmp_path / ".writing" / "old", tmp_path / ".writing" / "young"
    for path in (old, young):
        path.write_bytes(b"part")
    os.utime(old, (time.time() - 2 * 86_400,) * 2)
    store.put_new("b", b"1")
    assert (old.exists(), young.exists()) == (False, True)


def test_map_outlives_the_object(tmp_path: Path) -> None:
    """Mapping reads no byte before it is needed, and stays valid when the object is deleted."""
    store = FileStore(tmp_path)
    store.put_new("a", b"0123456789")
    store.put_new("empty", b"")
    view = store.map("a")
    store.delete("a")
    assert bytes(view[2:5]) == b"234"
    assert view.readonly
    assert bytes(store.map("empty")) == b""
    with pytest.raises(ObjectNotFound):
        store.map("a")


def test_put_new_same_content_is_refused(tmp_path: Path) -> None:
    """Put-if-absent compares existence, not content."""
    store = FileStore(tmp_path)
    store.put_new("a", b"1")
    with pytest.raises(PreconditionFailed, match="it exists"):
        store.put_new("a", b"1")


def test_put_new_without_space_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Space that a failed write took is free again, for a rollback for instance."""
    store = FileStore(tmp_path)

    def fail(data: object, target: Path) -> None:
        target.write_bytes(b"part")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("marquee.registry.object_store.file_store._copy", fail)
    with pytest.raises(ObjectStoreError, match="No space left on device"):
        store.put_new("a", b"1234567")
    assert list((tmp_path / ".writing").iterdir()) == []


@pytest.mark.parametrize(("umask", "file_mode", "directory_mode"), [(0o077, 0o400, 0o700), (0o022, 0o444, 0o755)])
def test_put_new_files_are_read_only_within_the_umask(
    tmp_path: Path, umask: int, file_mode: int, directory_mode: int
) -> None:
    """Files and directories are for the same accounts; no program changes a file in place by mistake."""
    before = os.umask(umask)
    try:
        store = FileStore(tmp_path / "objects")
        version = store.put_new("a/b", b"1")
        store.replace("a/b", b"2", version)
    finally:
        os.umask(before)
    assert (tmp_path / "objects/a/b").stat().st_mode & 0o777 == file_mode
    assert (tmp_path / "objects/a").stat().st_mode & 0o777 == directory_mode
    store.delete("a/b")


def test_modified_is_the_time_of_the_write(tmp_path: Path) -> None:
    """The clock is that of the machine that holds the files."""
    store = FileStore(tmp_path)
    store.put_new("a", b"1")
    assert abs(store.modified("a").timestamp() - time.time()) < 60
