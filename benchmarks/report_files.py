"""Files of an analysis: the stored results, and the page and charts that are generated from them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from marquee.config import atomic_file
from marquee.errors import MarqueeError


class StoredReport(msgspec.Struct, frozen=True, kw_only=True):
    """Base of the results of an analysis.

    - ``made``: date; ``machine``: its class; ``versions``: of the libraries
    - ``data``: SHA-256 of the dataset; ``seed``, ``interval`` and ``resamples``: of the bootstrap
    """

    made: str
    machine: str
    versions: dict[str, str]
    seed: int
    data: str
    interval: float
    resamples: int

    def describe(self) -> dict[str, Any]:
        """Return these fields as the templates of pages show them."""
        return {
            "made": self.made,
            "machine": self.machine,
            "seed": self.seed,
            "data": self.data,
            "interval": f"{100 * self.interval:g} %",
            "resamples": f"{self.resamples:,}",
            "versions": ", ".join(f"{name} {version}" for name, version in self.versions.items()),
        }


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of a command that analyzes base data and writes a page."""
    parser.add_argument("--base", type=Path, metavar="DIRECTORY", help="base data; default: download MovieLens 100K")
    parser.add_argument("--out", type=Path, default=Path(), metavar="DIRECTORY", help="root of the written files")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), metavar="FILE")
    parser.add_argument("--page-only", action="store_true", help="write the page from the existing results")


def run_report(args: argparse.Namespace, analyze: Callable[[], None], write_page: Callable[[Path], list[Path]]) -> int:
    """Analyze, unless ``--page-only`` is given, and write the page; return the exit code."""
    try:
        if not args.page_only:
            analyze()
    except MarqueeError as error:
        print(error, file=sys.stderr)
        return 1
    for path in write_page(args.out):
        print(path)
    return 0


def write_results(path: Path, results: object) -> None:
    """Write results as JSON with indentation."""
    atomic_file.write_atomically(path, msgspec.json.format(msgspec.json.encode(results), indent=1) + b"\n")


def write_files(root: Path, contents: Mapping[Path, str]) -> list[Path]:
    """Write each text to its path below ``root``; return the paths."""
    for path, content in contents.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(content)
    return list(contents)
