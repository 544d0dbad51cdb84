"""Locks on files."""

from pathlib import Path

import pytest

from marquee.config.file_lock import FileLocked, file_lock


@pytest.mark.parametrize(
    ("first", "second", "granted"),
    [(False, False, False), (True, False, False), (False, True, False), (True, True, True)],
)
def test_file_lock_second_holder_needs_shared_locks(tmp_path: Path, first: bool, second: bool, granted: bool) -> None:
    """Two holders at once are possible only if both hold a shared lock."""
    path = tmp_path / "lock"
    with file_lock(path, shared=first):
        if granted:
            with file_lock(path, timeout_s=0, shared=second):
                pass
        else:
            with pytest.raises(FileLocked, match=str(path)), file_lock(path, timeout_s=0.01, shared=second):
                pytest.fail("the lock was granted twice")


def test_file_lock_released_can_be_taken_again(tmp_path: Path) -> None:
    """The end of the block releases the lock, also when the block raises."""
    with pytest.raises(ZeroDivisionError), file_lock(tmp_path / "lock"):
        raise ZeroDivisionError
    with file_lock(tmp_path / "lock", timeout_s=0):
        pass
