"""Name check: no file stem in two packages, no class name for two things, no function name without a verb's meaning.

``python -m infra.names`` prints what it finds and returns 1 if that is anything. Stems are compared within the library;
classes and functions within the library and the tools beside it.
"""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
LIBRARY = ROOT / "shared/marquee"
SOURCES = (LIBRARY, *(ROOT / name for name in ("benchmarks", "dashboards", "functions", "infra", "jobs")))
# Names that say nothing at the call site. A function is a verb and its object: `load_biases`, `claim_requests`.
VAGUE_FUNCTIONS = frozenset(
    (
        "of",
        "whole",
        "one",
        "did",
        "gone",
        "left",
        "look",
        "turn",
        "taste",
        "spoil",
        "judged",
        "asked",
        "held",
        "joined",
    )
)
VAGUE_PARAMETERS = frozenset(("of", "whole", "gone", "theirs", "ours", "asked", "least", "most", "longest", "tally"))


def repeated_stems(library: Path) -> dict[str, list[str]]:
    """Return each file stem that occurs in more than one package, with its files."""
    files: dict[str, list[str]] = defaultdict(list)
    for path in sorted(library.rglob("*.py")):
        if path.stem not in ("__init__", "__main__"):
            files[path.stem].append(path.relative_to(library).as_posix())
    return {stem: paths for stem, paths in files.items() if len(paths) > 1}


def repeated_classes(sources: tuple[Path, ...]) -> dict[str, list[str]]:
    """Return each class name that is defined in more than one module, with the modules."""
    modules: dict[str, list[str]] = defaultdict(list)
    for path, tree in _trees(sources):
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                modules[node.name].append(path.as_posix())
    return {name: paths for name, paths in modules.items() if len(paths) > 1}


def vague_names(sources: tuple[Path, ...]) -> list[str]:
    """Return a line for each function or parameter whose name says nothing at the call site."""
    problems = []
    for path, tree in _trees(sources):
        for node in ast.walk(tree):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            if node.name.lstrip("_") in VAGUE_FUNCTIONS:
                problems.append(f"{path}:{node.lineno}: function {node.name!r}; use a verb and its object")
            arguments = (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
            for argument in arguments:
                if argument.arg in VAGUE_PARAMETERS:
                    problems.append(f"{path}:{argument.lineno}: parameter {argument.arg!r} of {node.name!r}")
    return problems


def _trees(sources: tuple[Path, ...]) -> Iterator[tuple[Path, ast.Module]]:
    for source in sources:
        for path in sorted(source.rglob("*.py")):
            # Each function and job has a shell of the same shape, named `main.py`.
            if path.name != "main.py" or source == LIBRARY:
                yield path.relative_to(source.parent), ast.parse(path.read_text(encoding="utf-8"))


def main() -> int:
    """Print what is repeated or vague; return 1 if anything is."""
    problems = [f"file stem {stem!r}: {', '.join(files)}" for stem, files in repeated_stems(LIBRARY).items()]
    problems += [f"class {name!r}: {', '.join(files)}" for name, files in repeated_classes(SOURCES).items()]
    problems += vague_names(SOURCES)
    for problem in problems:
        print(f"names: {problem}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
