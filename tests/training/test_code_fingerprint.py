"""Fingerprints of the code behind the pipeline steps: changes that they show and changes that they ignore."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from marquee.models.ranker_port import RANKERS
from marquee.models.trainer_port import TRAINERS
from marquee.training.pipeline import code_fingerprint
from marquee.training.pipeline.code_fingerprint import STEP_MODULES, fingerprint_steps, hash_code
from marquee.training.pipeline.steps import STEPS

SHARED = Path(__file__).parents[2] / "shared"
MODULE = '''"""Docstring."""

from os import path


class Shape:
    """Docstring."""

    side: int = 1
    """Length of a side."""

    def area(self) -> int:
        """Docstring."""
        # A comment.
        return self.side**2
'''


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """A copy of the library that a test may change."""
    shutil.copytree(SHARED, tmp_path / "shared", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path / "shared"


def changed_steps(library: Path, change: Callable[[], object]) -> set[str]:
    """Return the steps whose fingerprint differs after ``change``."""
    before = fingerprint_steps(library)
    change()
    after = fingerprint_steps(library)
    return {step for step in STEP_MODULES if before[step] != after[step]}


def module_file(library: Path, name: str) -> Path:
    return library.joinpath(*name.split(".")).with_suffix(".py")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"""Docstring."""\n', '"""Another docstring.\n\n    With details.\n    """\n'),
        ('        """Docstring."""\n        #', "        #"),
        ('    """Length of a side."""\n', ""),
        ("# A comment.", "# Another comment."),
        ("from os import path\n", "from os import (\n    path,\n)\n"),
        ("return self.side**2", "return (self.side ** 2)"),
    ],
)
def test_hash_code_docstring_comment_or_layout_changed_stays_equal(old: str, new: str) -> None:
    """Text that does not affect behavior does not affect the hash."""
    assert old in MODULE
    assert hash_code(ast.parse(MODULE.replace(old, new))) == hash_code(ast.parse(MODULE))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("**2", "**3"),
        ("side: int = 1", "side: int = 2"),
        ("from os import path", "from os import sep"),
        ("        return self.side**2", "        self.side = 3\n        return self.side**2"),
        ("def area", "def size"),
        ("self.side**2", "'docstring'"),
    ],
)
def test_hash_code_statement_changed_differs(old: str, new: str) -> None:
    """A changed statement changes the hash."""
    assert old in MODULE
    assert hash_code(ast.parse(MODULE.replace(old, new))) != hash_code(ast.parse(MODULE))


def test_hash_code_is_the_same_for_all_python_versions() -> None:
    """A module with most kinds of statement has the same hash in every version of Python that CI runs."""
    source = """
import os.path as p
from a import b, c as d
@deco(1, *args, key=None, **kw)
class A(B, metaclass=M):
    x: int | None = 3
    async def f(self, a, /, b=1.5, *, c: str = "s", **rest) -> bytes:
        async with self.g() as h, i:
            await h
        return [y async for y in z if y] and {**k, "a": b"x", 1: ...}
def g(n):
    for i, (j, *k) in enumerate(n):
        while (m := i) < 3 <= j: break
        else: continue
    try:
        raise E(f"{n!r:>{i}} text {n=}" "more" u"u") from None
    except* (X, Y) as e:
        del e, n[1:2, ::3]
    finally:
        yield from (lambda *_: -1j)()
    match n:
        case {"a": 1, **r} | [A(x=2), *_] if True: pass
        case _: global z; assert not n, "message"
"""
    assert hash_code(ast.parse(source)) == "182c0a83cc93c5f006564c2d3e9f3ba0097c51751dc5b78a335fdaf9ae2f02ec"


@pytest.mark.parametrize(
    ("module", "steps"),
    [
        ("marquee.data.movielens", {"fetch"}),
        ("marquee.data.splits", {"tune", "train", "evaluate", "fairness", "publish"}),
        ("marquee.evaluation.group_fairness", {"fairness", "publish"}),
        ("marquee.models.ease", {"tune", "train", "publish"}),
        ("marquee.training.pipeline.pipeline_run", set(STEPS) | {"publish"}),
        ("marquee.training.release_policy", {"publish"}),
        ("marquee.serving.engine", set()),
        ("marquee.cli.model_pipeline", set()),
    ],
)
def test_fingerprint_statement_changed_changes_importing_steps_only(
    library: Path, module: str, steps: set[str]
) -> None:
    """A new statement in a module changes the fingerprints of the steps that import it, and no others."""
    path = module_file(library, module)
    source = path.read_text()
    assert changed_steps(library, lambda: path.write_text(source + "\n_ADDED = 1\n")) == steps


def test_fingerprint_docstrings_and_comments_changed_stays_equal(library: Path) -> None:
    """New comments and another module docstring in every module change no fingerprint."""

    def reword() -> None:
        for path in (library / "marquee").rglob("*.py"):
            source = path.read_text()
            if ast.get_docstring(ast.parse(source)):
                source = source.replace('"""', '"""Reworded. ', 1)
            path.write_text(f"{source}\n# A comment at the end.\n")

    assert changed_steps(library, reword) == set()


def test_fingerprint_train_includes_every_trainer_and_ranker() -> None:
    """Trainers and rankers are imported by name; the fingerprint of ``train`` has their modules."""
    assert {*TRAINERS.values(), *RANKERS.values()} <= set(fingerprint_steps()["train"].modules)


def test_fingerprint_type_checking_import_is_ignored(tmp_path: Path) -> None:
    """Modules that are imported for type checkers alone are left out; the ``else`` branch counts."""
    package = tmp_path / "marquee"
    for step in STEP_MODULES.values():
        path = module_file(tmp_path, step)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    for name in ("types_only", "fallback", "by_name"):
        (package / f"{name}.py").write_text("")
    module_file(tmp_path, STEP_MODULES["train"]).write_text(
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    from marquee import types_only\n"
        "else:\n    from marquee import fallback\n"
        'NAMES = {"one": "marquee.by_name", "two": "marquee.no_such_module", "three": "text of marquee.types_only"}\n'
    )
    assert set(fingerprint_steps(tmp_path)["train"].modules) == {
        "marquee.by_name",
        "marquee.fallback",
        STEP_MODULES["train"],
    }


def test_step_modules_agree_with_steps() -> None:
    """The fingerprint of each step begins at the module of the step's function."""
    assert list(STEP_MODULES) == ["fetch", *STEPS, "publish"]
    assert {name: step.run.__module__ for name, step in STEPS.items()} == {name: STEP_MODULES[name] for name in STEPS}


@pytest.mark.parametrize("step", STEP_MODULES)
def test_fingerprint_includes_all_modules_imported_at_run_time(step: str) -> None:
    """Every module of the library that importing a step loads is in its fingerprint."""
    program = f"import json, sys, {STEP_MODULES[step]}; print(json.dumps(list(sys.modules)))"
    completed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = {name for name in json.loads(completed.stdout) if name.split(".")[0] == "marquee"}
    assert loaded <= set(fingerprint_steps()[step].modules)


def test_write_fingerprints_twice_gives_equal_bytes(tmp_path: Path) -> None:
    """One file is written for each step, with the same bytes each time."""
    contents = []
    for _ in range(2):
        code_fingerprint.write_fingerprints(tmp_path)
        directory = tmp_path / code_fingerprint.DIRECTORY
        contents.append({path.stem: path.read_bytes() for path in directory.iterdir()})
    assert contents[0] == contents[1]
    assert set(contents[0]) == set(STEP_MODULES)
