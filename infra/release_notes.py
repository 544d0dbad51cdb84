"""Version and notes of a release: ``python -m infra.release_notes`` prints the changelog's section of the version."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def project_version(root: Path = ROOT) -> str:
    """Return the version in pyproject.toml."""
    version: str = tomllib.loads((root / "pyproject.toml").read_text())["project"]["version"]
    return version


def release_notes(changelog: str, version: str) -> str:
    """Return the changelog's section of ``version``, without its heading.

    Raises ``ValueError`` if the version has no dated section.
    """
    heading = re.compile(rf"^## \[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d$", re.M)
    match = heading.search(changelog)
    if not match:
        raise ValueError(f"CHANGELOG.md needs a heading '## [{version}] - <date>'; move the unreleased entries there")
    return re.split(r"^## ", changelog[match.end() :], maxsplit=1, flags=re.M)[0].strip() + "\n"


def main(arguments: list[str]) -> int:
    """Print the version with ``--version``, else the notes."""
    version = project_version()
    print(version if "--version" in arguments else release_notes((ROOT / "CHANGELOG.md").read_text(), version))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
