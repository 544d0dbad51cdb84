"""Fingerprints of the code behind each pipeline step.

DVC reruns a step when the hash of a dependency changes. Python files would be poor dependencies: a changed
docstring would make a step stale, and a list of files written by hand misses some. Instead the stage ``code``
of dvc.yaml writes one small JSON file for each step, with a hash of every module of the library that the step
imports, directly or not. The hash covers the abstract syntax tree without docstrings, comments and layout.

Imports are found by static analysis, and nothing is imported. Imports for type checkers alone do not count. A
string constant that is the name of a module counts as an import of it, because registries such as the
trainers' import modules by name.
"""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import msgspec

from marquee.config.atomic_file import atomic_path

DIRECTORY = "data/pipeline/code"
STEP_MODULES = {
    "fetch": "marquee.data.movielens",
    "snapshot": "marquee.training.pipeline.snapshot_step",
    "check": "marquee.training.pipeline.check_step",
    "features": "marquee.training.pipeline.features_step",
    "tune": "marquee.training.pipeline.tune_step",
    "train": "marquee.training.pipeline.train_step",
    "evaluate": "marquee.training.pipeline.evaluate_step",
    "fairness": "marquee.training.pipeline.fairness_step",
    "publish": "marquee.training.pipeline.publish_step",
}
_PACKAGE = "marquee"
_MODULE_NAME = re.compile(rf"{_PACKAGE}(?:\.\w+)+")
_LIBRARY = Path(__file__).parents[3]


class Fingerprint(msgspec.Struct, frozen=True):
    """SHA-256 of each module that a step imports, by the module's name."""

    modules: dict[str, str]


def write_fingerprints(root: Path, library: Path = _LIBRARY) -> None:
    """Write the fingerprint of each step to ``root / DIRECTORY / <step>.json``.

    ``library`` is the directory that contains the package ``marquee``.
    """
    for step, fingerprint in fingerprint_steps(library).items():
        with atomic_path(root / DIRECTORY / f"{step}.json") as path:
            path.write_bytes(encode_fingerprint(fingerprint))


def encode_fingerprint(fingerprint: Fingerprint) -> bytes:
    """Return the content of a fingerprint's file; equal fingerprints give equal bytes."""
    return msgspec.json.format(msgspec.json.encode(fingerprint, order="deterministic"), indent=1) + b"\n"


def fingerprint_steps(library: Path = _LIBRARY) -> dict[str, Fingerprint]:
    """Return the fingerprint of each step. Each module is read once."""

    @cache
    def read_module(name: str) -> tuple[str, frozenset[str]] | None:
        path = _find_module(library, name)
        if path is None:
            return None
        tree = ast.parse(path.read_bytes(), str(path))
        return hash_code(tree), frozenset(_find_imports(tree, name))

    fingerprints = {}
    for step, root in STEP_MODULES.items():
        hashes: dict[str, str] = {}
        pending = set(_with_packages(root))
        while pending:
            name = pending.pop()
            if name not in hashes and (module := read_module(name)):
                hashes[name] = module[0]
                pending |= module[1]
        fingerprints[step] = Fingerprint(hashes)
    return fingerprints


def hash_code(tree: ast.Module) -> str:
    """Return the SHA-256 of a module's statements, without docstrings and other statements of no effect.

    Empty fields are left out, so that the supported versions of Python give the same hash.
    """
    digest = hashlib.sha256()
    for token in _serialize(tree):
        digest.update(token.encode("utf-8", "surrogatepass") + b"\0")
    return digest.hexdigest()


def _serialize(value: object) -> Iterator[str]:
    if isinstance(value, ast.AST):
        yield f"({type(value).__name__}"
        if isinstance(value, ast.JoinedStr):  # Python 3.12 ends some format specifications with "".
            value.values = [v for v in value.values if not (isinstance(v, ast.Constant) and v.value == "")]
        for name, field in ast.iter_fields(value):
            if field is not None and field != []:
                yield name
                yield from _serialize(field)
        yield ")"
    elif isinstance(value, list):
        yield "["
        for item in value:
            if not _has_no_effect(item):
                yield from _serialize(item)
        yield "]"
    else:
        yield repr(value)


def _has_no_effect(node: object) -> bool:
    """Return whether ``node`` is ``pass``, a docstring or another string that stands alone."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return isinstance(node.value.value, str)
    return isinstance(node, ast.Pass)


def _find_module(library: Path, name: str) -> Path | None:
    """Return the file of a module or package, or None if ``name`` is neither."""
    path = library.joinpath(*name.split("."))
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


def _find_imports(tree: ast.Module, name: str) -> Iterator[str]:
    """Yield the names that the module ``name`` imports; some may not be modules."""
    for node in _walk_runtime(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _with_packages(alias.name)
        elif isinstance(node, ast.ImportFrom) and node.module:
            if node.level:
                raise ValueError(f"{name} has a relative import, which fingerprints do not follow")
            for alias in node.names:
                yield from _with_packages(f"{node.module}.{alias.name}")
        elif isinstance(node, ast.Constant) and _MODULE_NAME.fullmatch(str(node.value)):
            yield from _with_packages(str(node.value))


def _with_packages(name: str) -> Iterator[str]:
    """Yield ``name`` and the packages that importing it imports, if it belongs to the library."""
    parts = name.split(".")
    if parts[0] == _PACKAGE:
        yield from (".".join(parts[:end]) for end in range(1, len(parts) + 1))


def _walk_runtime(node: ast.AST) -> Iterator[ast.AST]:
    """Yield ``node`` and the nodes below it, without the bodies of ``if TYPE_CHECKING:``."""
    if isinstance(node, ast.If) and ast.unparse(node.test).removeprefix("typing.") == "TYPE_CHECKING":
        children: Iterator[ast.AST] = iter(node.orelse)
    else:
        yield node
        children = ast.iter_child_nodes(node)
    for child in children:
        yield from _walk_runtime(child)
