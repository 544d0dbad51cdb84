"""The name check, and the names of the library itself."""

from __future__ import annotations

from pathlib import Path

import pytest
from infra.names import LIBRARY, SOURCES, repeated_classes, repeated_stems, vague_names


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """A library of two packages, each with a module and a shell of its own."""
    for package, module in (("left", "orders"), ("right", "bills")):
        (tmp_path / "library" / package).mkdir(parents=True)
        (tmp_path / "library" / package / "__init__.py").write_text("")
        (tmp_path / "library" / package / f"{module}.py").write_text(f"class {module.title()}: ...\n")
    return tmp_path / "library"


def test_repeated_stems_distinct_files_gives_none(library: Path) -> None:
    """``__init__.py`` is in every package."""
    assert repeated_stems(library) == {}


def test_repeated_stems_same_file_in_two_packages_gives_both(library: Path) -> None:
    (library / "left" / "bills.py").write_text("")
    assert repeated_stems(library) == {"bills": ["left/bills.py", "right/bills.py"]}


def test_repeated_classes_same_name_in_two_modules_gives_both(library: Path) -> None:
    """Nested and private classes count: a traceback shows their names alike."""
    assert repeated_classes((library,)) == {}
    (library / "left" / "prices.py").write_text("def build():\n    class Bills: ...\n")
    assert repeated_classes((library,)) == {"Bills": ["library/left/prices.py", "library/right/bills.py"]}


@pytest.mark.parametrize(
    "source", ["def of(rows): ...\n", "class A:\n    def _whole(self): ...\n", "def load(*, theirs): ...\n"]
)
def test_vague_names_name_without_meaning_is_reported(library: Path, source: str) -> None:
    (library / "left" / "orders.py").write_text(source)
    assert len(vague_names((library,))) == 1


def test_vague_names_verb_and_object_gives_none(library: Path) -> None:
    (library / "left" / "orders.py").write_text("def load_orders(path, limit): ...\n")
    assert vague_names((library,)) == []


def test_library_names_are_unique_and_clear() -> None:
    """No file stem occurs in two packages, no class name means two things, and functions say what they do."""
    assert repeated_stems(LIBRARY) == {}
    assert repeated_classes(SOURCES) == {}
    assert vague_names(SOURCES) == []
