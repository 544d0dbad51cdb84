"""The Dockerfiles, read without building them; `make infra-check` runs hadolint."""

from __future__ import annotations

import ast
import importlib.util
import re
import runpy
from pathlib import Path
from typing import Any

import pytest

from marquee.config.settings import PREFIX, Settings
from marquee.local.infra_spec import read_functions

ROOT = Path(__file__).parents[2]
FILES = [ROOT / "jobs/Dockerfile", ROOT / "functions/Dockerfile"]
JOBS = sorted(path.parent.name for path in ROOT.glob("jobs/*/main.py"))
PARTS = {"JOB": JOBS, "FUNCTION": sorted(read_functions(ROOT))}
dockerfile = pytest.mark.parametrize("path", FILES, ids=lambda path: path.parent.name)


def instructions(path: Path) -> list[tuple[str, str]]:
    """Return (instruction, rest) with continued lines joined and comments left out."""
    text = re.sub(r"^\s*#.*\n", "", path.read_text(), flags=re.M)
    lines = re.sub(r"\\\n\s*", " ", text).splitlines()
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in lines if line.strip()]


def last_stage(path: Path) -> list[tuple[str, str]]:
    """Return the instructions of the stage that runs."""
    listed = instructions(path)
    last = max(number for number, (word, _) in enumerate(listed) if word == "FROM")
    return listed[last:]


def expanded(path: Path, text: str) -> list[str]:
    """Return ``text`` once for each job or function that the file can build."""
    (argument,) = {name for name in PARTS if f"ARG {name}" in path.read_text()}
    return [text.replace(f"${{{argument}}}", part) for part in PARTS[argument]]


@dockerfile
def test_dockerfile_process_does_not_run_as_root(path: Path) -> None:
    """The user is a number, so that Kubernetes and Cloud Run see that it is not 0; nothing is copied afterwards."""
    words = [word for word, _ in last_stage(path)]
    (user,) = [rest for word, rest in last_stage(path) if word == "USER"]
    assert int(user) > 0
    assert "COPY" not in words[words.index("USER") :]


@dockerfile
def test_dockerfile_last_stage_has_no_build_tools(path: Path) -> None:
    """Two stages of the same pinned base; the last one installs nothing."""
    bases = [rest.split()[0] for word, rest in instructions(path) if word == "FROM"]
    assert len(bases) == 2
    assert len(set(bases)) == 1
    assert re.search(r":[\w.-]*\d", bases[0])
    assert not [rest for _, rest in last_stage(path) if "pip install" in rest]


@dockerfile
def test_dockerfile_pip_checks_hashes(path: Path) -> None:
    """Each pip install checks hashes or uses no index; each list exists and has a hash for each pin."""
    commands = [c for w, rest in instructions(path) if w == "RUN" for c in rest.split("&&") if "pip install" in c]
    assert commands
    assert all("--require-hashes" in c or "--no-index --no-deps" in c for c in commands)
    for name in re.findall(r"-r \"?(requirements/\S+?\.txt)", path.read_text()):
        for file in expanded(path, name):
            text = (ROOT / file).read_text()
            assert len(re.findall(r"^\S+==", text, re.M)) <= text.count("--hash=sha256:")


@dockerfile
def test_dockerfile_copied_sources_exist(path: Path) -> None:
    """Every source is in the repository and not excluded by .dockerignore."""
    ignored = set((ROOT / ".dockerignore").read_text().split())
    for word, rest in instructions(path):
        if word == "COPY" and "--from" not in rest:
            for source in (source for text in rest.split()[:-1] for source in expanded(path, text)):
                assert (ROOT / source).exists(), source
                assert source.split("/")[0] not in ignored


@dockerfile
def test_dockerfile_states_health_check(path: Path) -> None:
    """A function has a check; a job has none, and compose.yaml may add one."""
    (check,) = [rest for word, rest in last_stage(path) if word == "HEALTHCHECK"]
    assert check == "NONE" or "--interval" in check


@dockerfile
def test_dockerfile_variables_are_settings(path: Path) -> None:
    """A MARQUEE_ variable that is no setting would keep the program from starting."""
    names = re.findall(rf"{PREFIX}(\w+)=", path.read_text())
    Settings().environment([name.lower() for name in names])


@dockerfile
def test_dockerfile_entry_point_is_in_exec_form(path: Path) -> None:
    """Signals reach the program itself."""
    (entry,) = [rest for word, rest in last_stage(path) if word == "ENTRYPOINT"]
    assert ast.literal_eval(entry)[0] in ("python", "functions-framework")


@pytest.mark.parametrize("job", JOBS)
def test_job_modules_exist(job: str) -> None:
    """The image's build imports each module that the job's main.py names."""
    main: dict[str, Any] = runpy.run_path(str(ROOT / f"jobs/{job}/main.py"))
    assert main["MODULES"]
    assert not [name for name in main["MODULES"] if importlib.util.find_spec(name) is None]
