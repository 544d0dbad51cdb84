"""What only ``file://`` has to promise: other processes, kills, and nothing outside its directory."""

from __future__ import annotations

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


def test_racing_processes_lose_no_count(tmp_path: Path) -> None:
    """Compare-and-swap holds between processes as between threads."""
    store = connect(tmp_path.as_uri())
    store.put_new("count", b"0")
    processes = [_python(_COUNT, tmp_path.as_uri()) for _ in range(3)]
    assert [p.wait(60) for p in processes] == [0, 0, 0]
    for process in processes:
        _end(process)
    assert store.get("count").data == b"75"


@pytest.mark.parametrize("writes", [1, 2, 5, 9])
def test_a_killed_writer_leaves_a_whole_object(tmp_path: Path, writes: int) -> None:
    """Whenever a writer is killed, the object is of one of its writes, whole, and others can write."""
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


def test_a_killed_holder_lets_go_of_the_lock(tmp_path: Path) -> None:
    """A lock does not outlive the process that held it."""
    process = _python(_HOLD_THE_LOCK, str(tmp_path))
    assert process.stdout
    assert process.stdout.readline() == "held\n"
    with pytest.raises(ObjectStoreUnavailable, match="holds the lock"):
        FileStore(tmp_path, lock_timeout_s=0.05).put_new("a", b"1")
    os.kill(process.pid, signal.SIGKILL)
    _end(process)
    FileStore(tmp_path, lock_timeout_s=5).put_new("a", b"1")


def test_a_lock_is_let_go_even_if_a_fork_holds_its_file(tmp_path: Path) -> None:
    """A child forked in the middle of a write does not keep others from writing afterwards."""
    store = FileStore(tmp_path, lock_timeout_s=5)
    with store._lock():
        copy = os.dup(_lock_descriptor(tmp_path))  # What a fork has: the same open file.
    try:
        store.put_new("a", b"1")
    finally:
        os.close(copy)


def _lock_descriptor(directory: Path) -> int:
    own = Path("/proc/self/fd")
    lock = str(directory / ".lock")
    return next(int(fd.name) for fd in own.iterdir() if os.path.realpath(fd) == lock)


def test_readers_never_wait_for_writers(tmp_path: Path) -> None:
    """A read needs no lock."""
    store = FileStore(tmp_path)
    version = store.put_new("a", b"1")
    with (tmp_path / ".lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert store.get("a").version == version
        assert store.read_range("a", 0, 1) == b"1"
        assert list(store.list("")) == ["a"]


def test_links_do_not_lead_out(tmp_path: Path) -> None:
    """A link inside the directory opens no way to files outside it."""
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


def test_a_name_below_an_object_is_refused(tmp_path: Path) -> None:
    """A file cannot be a directory as well; the error says which name."""
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


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    """The error says what stands in the way."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ObjectStoreError, match="cannot write 'a'"):
        FileStore(tmp_path / "file" / "objects").put_new("a", b"")


def test_reading_makes_no_directory(tmp_path: Path) -> None:
    """Only a write makes the directory."""
    store = FileStore(tmp_path / "objects")
    with pytest.raises(ObjectNotFound):
        store.get("a")
    assert list(store.list("")) == []
    store.delete("a")
    assert not (tmp_path / "objects").exists()


@contextmanager
def _ordinary_user() -> Iterator[None]:
    """Makes of the superuser, who may read and write everything, somebody else for a while."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(before)


def test_permission_denied(tmp_path: Path) -> None:
    """A file or directory of somebody else's is a clear error, in reading and in writing."""
    store = FileStore(tmp_path)
    store.put_new("a", b"1")
    (tmp_path / "a").chmod(0)
    (tmp_path / ".writing").chmod(0o500)
    with _ordinary_user():
        for call in (lambda: store.get("a"), lambda: store.put_new("b", b"1")):
            with pytest.raises(ObjectStoreError, match="Permission denied"):
                call()


def test_a_url_may_hold_blanks_and_odd_letters(tmp_path: Path) -> None:
    """A URL's escapes are undone."""
    directory = tmp_path / "a b%é"
    connect(directory.as_uri()).put_new("x", b"1")
    assert (directory / "x").read_bytes() == b"1"


def test_what_killed_writers_left_is_swept(tmp_path: Path) -> None:
    """Left-overs of writers go once they are a day old; younger ones may be somebody's."""
    store = FileStore(tmp_path)
    store.put_new("a", b"1")
    old, young = tmp_path / ".writing" / "old", tmp_path / ".writing" / "young"
    for path in (old, young):
        path.write_bytes(b"part")
    os.utime(old, (time.time() - 2 * 86_400,) * 2)
    store.put_new("b", b"1")
    assert (old.exists(), young.exists()) == (False, True)


def test_a_map_is_the_file_itself(tmp_path: Path) -> None:
    """Mapping reads no byte before it is needed, and stays good when the object is deleted."""
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


def test_a_new_object_of_the_same_content_is_refused(tmp_path: Path) -> None:
    """Put-if-absent asks whether there is an object, not what is in it."""
    store = FileStore(tmp_path)
    store.put_new("a", b"1")
    with pytest.raises(PreconditionFailed, match="it exists"):
        store.put_new("a", b"1")
