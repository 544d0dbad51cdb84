"""Files of an analysis: the stored results, and the page and charts that are generated from them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from marquee.config import atomic_file


def write_results(path: Path, results: object) -> None:
    """Write results as JSON with indentation."""
    atomic_file.write_atomically(path, msgspec.json.format(msgspec.json.encode(results), indent=1) + b"\n")


def write_files(root: Path, contents: Mapping[Path, str]) -> list[Path]:
    """Write each text to its path below ``root``; return the paths."""
    for path, content in contents.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(content)
    return list(contents)
