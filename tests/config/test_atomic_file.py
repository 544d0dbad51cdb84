"""Atomic writes: complete content or the previous one."""

from pathlib import Path

import pytest

from marquee.config.atomic_file import atomic_directory, atomic_path, write_atomically


def fail_while_writing(path: Path) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text("ne")
        raise ZeroDivisionError


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


@pytest.mark.parametrize("durable", [False, True])
def test_write_atomically_existing_file_is_replaced(tmp_path: Path, durable: bool) -> None:
    """The new content is there, and no temporary beside it; missing parent directories are created."""
    path = tmp_path / "folder" / "file"
    for content in (b"old", b"new"):
        write_atomically(path, content, durable=durable)
        assert path.read_bytes() == content
    assert names(path.parent) == ["file"]


def test_atomic_path_block_raises_keeps_previous_content(tmp_path: Path) -> None:
    """A write that fails leaves the previous content and no temporary."""
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError):
        fail_while_writing(path)
    assert path.read_text() == "old"
    assert names(tmp_path) == ["file"]


def test_atomic_path_leftover_of_killed_writer_is_removed(tmp_path: Path) -> None:
    """The temporary of a writer that was killed does not become part of the next write."""
    path = tmp_path / "folder"
    (tmp_path / ".folder.writing").mkdir()
    (tmp_path / ".folder.writing" / "half").write_text("x")
    with atomic_directory(path) as temporary:
        (temporary / "whole").write_text("y")
    assert names(path) == ["whole"]
    assert names(tmp_path) == ["folder"]


def test_atomic_directory_existing_directory_is_replaced(tmp_path: Path) -> None:
    """Files that the new directory does not have disappear with the previous one."""
    for name in ("a", "b"):
        with atomic_directory(tmp_path / "out") as temporary:
            (temporary / name).touch()
    assert names(tmp_path / "out") == ["b"]


def test_atomic_path_file_on_directory_is_refused(tmp_path: Path) -> None:
    """A file never replaces a directory and its content."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").touch()
    with pytest.raises(OSError, match="folder"):
        write_atomically(tmp_path / "folder", b"x")
    assert names(tmp_path / "folder") == ["file"]


def test_atomic_path_staging_path_is_used(tmp_path: Path) -> None:
    """Concurrent writers each stage their content under a path of their own."""
    path, staging = tmp_path / "file", tmp_path / "staging"
    with (
        atomic_path(path, staging=staging / "1") as first,
        atomic_path(path, staging=staging / "2") as second,
    ):
        assert (first, second) == (staging / "1", staging / "2")
        first.write_text("first")
        second.write_text("second")
    assert path.read_text() == "first"
    assert names(staging) == []
