"""Name check of the library: no file stem in two packages, no public class name for two things."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

LIBRARY = Path(__file__).parents[1] / "shared/marquee"


def repeated_stems(library: Path) -> dict[str, list[str]]:
    """Return each file stem that occurs in more than one package, with its files."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in sorted(library.rglob("*.py")):
        if path.stem not in ("__init__", "__main__"):
            found[path.stem].append(path.relative_to(library).as_posix())
    return {stem: files for stem, files in found.items() if len(files) > 1}


def repeated_classes(library: Path) -> dict[str, list[str]]:
    """Return each class name that is defined in more than one module, with the modules."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in sorted(library.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                found[node.name].append(path.relative_to(library).as_posix())
    return {name: files for name, files in found.items() if len(files) > 1}


def main() -> int:
    """Print what is repeated; return 1 if anything is."""
    problems = [f"file stem {stem!r}: {', '.join(files)}" for stem, files in repeated_stems(LIBRARY).items()]
    problems += [f"class {name!r}: {', '.join(files)}" for name, files in repeated_classes(LIBRARY).items()]
    for problem in problems:
        print(f"names: {problem}")
    return 1 if problems else 0


if __name__ == "__main__":
    raise SystemExit(main())
