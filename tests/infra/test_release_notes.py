"""Release notes come from the changelog, for the version that the project has."""

from __future__ import annotations

from pathlib import Path

import pytest
from infra.release_notes import project_version, release_notes

ROOT = Path(__file__).parents[2]
CHANGELOG = """# Changelog

## [Unreleased]

## [0.2.0] - 2027-01-05

### Added
- One thing.

## [0.1.0] - 2026-11-30

### Added
- Another.
"""


def test_release_notes_dated_version_gives_its_section() -> None:
    """The newest and the oldest section alike, without heading and links."""
    assert release_notes(CHANGELOG, "0.2.0") == "### Added\n- One thing.\n"
    assert release_notes(CHANGELOG, "0.1.0") == "### Added\n- Another.\n"


@pytest.mark.parametrize("version", ["0.3.0", "Unreleased", "0.1"])
def test_release_notes_version_without_dated_section_raises(version: str) -> None:
    with pytest.raises(ValueError, match="needs a heading"):
        release_notes(CHANGELOG, version)


def test_changelog_has_notes_of_the_current_version() -> None:
    """The release workflow tags the version in pyproject.toml with these notes."""
    notes = release_notes((ROOT / "CHANGELOG.md").read_text(), project_version())
    assert "### Added" in notes
