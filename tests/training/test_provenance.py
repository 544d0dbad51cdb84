"""The commit that a model's manifest names."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from marquee.training import provenance


def test_git_commit_beside_another_repository_in_the_environment_is_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A retraining that a git hook of another repository starts names the commit of the code that it runs."""
    expected = provenance.git_commit().removesuffix("-dirty")
    assert len(expected) == 40
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    monkeypatch.setenv("GIT_DIR", str(tmp_path / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(tmp_path))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "index"))
    assert provenance.git_commit().removesuffix("-dirty") == expected
