"""What images are made of, without making them. hadolint looks at the style (`make infra-check`)."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest

from marquee.config.settings import PREFIX, Settings

ROOT = Path(__file__).parents[2]
FILES = [*sorted(ROOT.glob("jobs/*/Dockerfile")), ROOT / "functions/Dockerfile"]
dockerfile = pytest.mark.parametrize("path", FILES, ids=lambda path: path.parent.name)


def instructions(path: Path) -> list[tuple[str, str]]:
    """(instruction, rest), with continued lines joined and comments left out."""
    text = re.sub(r"^\s*#.*\n", "", path.read_text(), flags=re.M)
    lines = re.sub(r"\\\n\s*", " ", text).splitlines()
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in lines if line.strip()]


def stage(path: Path) -> list[tuple[str, str]]:
    """The instructions of the last stage, which is what runs."""
    found = instructions(path)
    last = max(number for number, (word, _) in enumerate(found) if word == "FROM")
    return found[last:]


def test_there_is_one_for_each_job() -> None:
    """Also for each that has a main.py."""
    mains = {path.parent.name for path in ROOT.glob("jobs/*/main.py")}
    assert mains <= {path.parent.name for path in FILES}


@dockerfile
def test_nothing_runs_as_root(path: Path) -> None:
    """By number, so that Kubernetes and Cloud Run can see that it is not 0; everything after COPY runs so."""
    words = [word for word, _ in stage(path)]
    (user,) = [rest for word, rest in stage(path) if word == "USER"]
    assert int(user) > 0
    assert "COPY" not in words[words.index("USER") :]


@dockerfile
def test_what_builds_is_not_in_what_runs(path: Path) -> None:
    """Two stages of the same base; the last has no pip install of its own."""
    bases = [rest.split()[0] for word, rest in instructions(path) if word == "FROM"]
    assert len(bases) == 2
    assert len(set(bases)) == 1
    assert re.search(r":[\w.-]*\d", bases[0])
    assert not [rest for _, rest in stage(path) if "pip install" in rest]


@dockerfile
def test_nothing_is_installed_without_its_hash(path: Path) -> None:
    """Each pip install checks hashes, or takes nothing from an index; each file of requirements has hashes."""
    commands = [
        c for w, rest in instructions(path) if w == "RUN" for c in rest.split("&&") if "pip install" in c
    ]
    assert commands
    for command in commands:
        assert "--require-hashes" in command or "--no-index --no-deps" in command
    for name in re.findall(r"-r \"?(requirements/\S+?\.txt)", path.read_text()):
        listed = (ROOT / name.replace("${FUNCTION}", "ingest")).read_text()
        assert len(re.findall(r"^\S+==", listed, re.M)) <= listed.count("--hash=sha256:")


@dockerfile
def test_what_is_copied_is_there(path: Path) -> None:
    """From the root of the repository, and not held back by .dockerignore."""
    ignored = set((ROOT / ".dockerignore").read_text().split())
    for word, rest in instructions(path):
        if word == "COPY" and "--from" not in rest:
            for source in rest.split()[:-1]:
                source = source.replace("${FUNCTION}", "ingest")
                assert (ROOT / source).exists(), source
                assert source.split("/")[0] not in ignored


@dockerfile
def test_health_is_stated(path: Path) -> None:
    """Either how it is seen, or that the exit code tells."""
    (check,) = [rest for word, rest in stage(path) if word == "HEALTHCHECK"]
    assert check == "NONE" or "--interval" in check
    if check == "NONE":
        assert "exit code" in path.read_text()


@dockerfile
def test_what_is_imported_in_the_build_exists(path: Path) -> None:
    """A module that was renamed fails here, not when the image is built."""
    for code in re.findall(r'python -c "([^"]+)"', path.read_text()):
        for node in ast.walk(ast.parse(code)):
            for name in node.names if isinstance(node, ast.Import) else ():
                assert importlib.util.find_spec(name.name), name.name


@dockerfile
def test_variables_are_settings(path: Path) -> None:
    """A variable of ours that is no setting would keep the part from starting."""
    names = re.findall(rf"{PREFIX}(\w+)=", path.read_text())
    Settings().environment([name.lower() for name in names])


def test_the_bridge_is_ill_when_its_loop_stands_still(tmp_path: Path) -> None:
    """The very command of its HEALTHCHECK: well with a fresh file, ill with an old one or with none."""
    (check,) = [rest for word, rest in stage(ROOT / "jobs/bridge/Dockerfile") if word == "HEALTHCHECK"]
    words = ast.literal_eval(check[check.index("[") :])
    file = tmp_path / "healthy"
    command = [sys.executable, *(word.replace("/tmp/healthy", str(file)) for word in words[1:])]
    assert subprocess.run(command, capture_output=True).returncode != 0
    file.touch()
    assert subprocess.run(command).returncode == 0
    os.utime(file, (time.time() - 60,) * 2)
    assert subprocess.run(command).returncode != 0


def test_entry_points_are_programs_of_the_image() -> None:
    """In exec form, so that signals arrive."""
    for path in FILES:
        (entry,) = [rest for word, rest in stage(path) if word == "ENTRYPOINT"]
        assert ast.literal_eval(entry)[0] in ("python", "functions-framework")
        assert shlex.split(entry)
