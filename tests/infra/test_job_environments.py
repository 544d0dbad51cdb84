"""Each job's image, without Docker: its list in an environment of its own, and its commands run from nothing else."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from infra.bundle import build_wheel, commit_time
from packaging.utils import canonicalize_name

from marquee.config.needs import NEEDS

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "jobs/Dockerfile").read_text()
SERVICES = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"].values()
JOBS = sorted(path.parent.name for path in ROOT.glob("jobs/*/main.py"))
# The files that the Dockerfile copies into /app.
APP = ("params.yaml", "infra", "jobs", "requirements")
pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

Environment = Callable[[str], Path]


def read_pins(name: str) -> set[tuple[str, str]]:
    """Return (package, version) of a list."""
    found = re.findall(r"^([\w.-]+)==(\S+)", (ROOT / f"requirements/{name}.txt").read_text(), re.M)
    return {(canonicalize_name(package), version) for package, version in found}


def pip(environment: Path, *words: str) -> str:
    """Run this environment's pip on another one, which has no pip that would hide a missing package."""
    command = [sys.executable, "-m", "pip", "--python", str(environment / "bin/python"), *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """Return a function that installs a list. Equal packages are linked from an environment made before."""
    made: dict[str, Path] = {}

    def make(name: str) -> Path:
        if name in made:
            return made[name]
        target = tmp_path_factory.mktemp("environments") / name
        within = [other for other in made if read_pins(other) <= read_pins(name)]
        if within:
            base = made[max(within, key=lambda other: len(read_pins(other)))]
            shutil.copytree(base, target, symlinks=True, copy_function=os.link)
        else:
            subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(target)], check=True)
        requirements = f"requirements/{name}.txt"
        pip(target, "install", "--no-compile", "--no-deps", "--require-hashes", "-r", requirements)
        frozen = pip(target, "list", "--disable-pip-version-check", "--format", "freeze").split()
        installed = {(canonicalize_name(line.split("==")[0]), line.split("==")[1]) for line in frozen}
        assert installed == read_pins(name)
        made[name] = target
        return target

    return make


@pytest.fixture(scope="module")
def wheel(environment: Environment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the library's wheel with the packages of requirements/build.txt alone, as the Dockerfiles do."""
    python = environment("build") / "bin/python"
    return build_wheel(ROOT, tmp_path_factory.mktemp("wheel"), commit_time(ROOT), python=str(python))


def app(job: str, folder: Path) -> Path:
    """Return a folder like /app of the image."""
    folder.mkdir()
    for name in APP:
        (folder / name).symlink_to(ROOT / name)
    shutil.copy(ROOT / f"jobs/{job}/main.py", folder)
    return folder


def run_in(environment: Path, folder: Path, script: str) -> subprocess.CompletedProcess[str]:
    """Run a shell command with the image's variables and none of this process."""
    variables = {
        "PATH": f"{environment}/bin:/usr/bin:/bin",
        "HOME": str(folder),
        "NUMBA_CACHE_DIR": str(folder),
    }
    return subprocess.run(["sh", "-ec", script], cwd=folder, env=variables, capture_output=True, text=True, timeout=120)


def image_check() -> str:
    """Return the command with which the build of the image ends: the imports and the help."""
    stage = DOCKERFILE[DOCKERFILE.index("USER 10001") :]
    check = str(re.findall(r"^RUN (.*?[^\\])$", stage, re.M | re.S)[0])
    assert "main.MODULES" in check
    assert "--help" in check
    return check.replace("\\\n", " ")


def compose_programs(job: str) -> list[str]:
    """Return the programs other than the job's own that Compose runs in its image."""
    image = next((s["image"] for s in SERVICES if s.get("build", {}).get("args") == {"JOB": job}), None)
    words = [s["entrypoint"] for s in SERVICES if s["image"] == image and "entrypoint" in s]
    programs = [entry[: next((n for n, w in enumerate(entry) if w.startswith("-")), None)] for entry in words]
    return [" ".join(program).replace("/app/", "") for program in programs]


def jobs_by_size() -> list[str]:
    """Return the jobs, those with smaller lists first: `scheduler` has all packages of `retrain`."""
    return sorted(JOBS, key=lambda job: len(read_pins(job)))


@pytest.mark.parametrize("job", jobs_by_size())
def test_job_runs_from_exactly_its_list(job: str, environment: Environment, wheel: Path, tmp_path: Path) -> None:
    """The list is complete, the image's build would pass, and the entry point reads its settings."""
    installed = tmp_path / "venv"
    shutil.copytree(environment(job), installed, symlinks=True, copy_function=os.link)
    pip(installed, "install", "--no-compile", "--no-index", "--no-deps", str(wheel))
    pip(installed, "check")
    folder = app(job, tmp_path / "app")
    checked = run_in(installed, folder, image_check())
    assert checked.returncode == 0, checked.stderr
    for program in compose_programs(job):
        helped = run_in(installed, folder, f"{program} --help")
        assert helped.returncode == 0, helped.stderr
        assert helped.stdout.startswith("usage:")
    if job in NEEDS:
        options = "--mode synthetic --records 1" if job == "simulate" else ""
        started = run_in(installed, folder, f"python main.py {options}")
        assert (started.returncode, "MARQUEE_" in started.stderr) == (1, True), started.stderr


def test_requirements_list_is_installed_by_a_check() -> None:
    """A list that no image installs is installed by a make target, `make infra-check` or a workflow."""
    images = {path.parent.name for path in ROOT.glob("[fj]*s/*/main.py")} | {"build"}
    files = [ROOT / "Makefile", ROOT / "infra/check.sh", *(ROOT / ".github/workflows").glob("*.yml")]
    installed = {
        name
        for file in files
        for name in re.findall(r"(?:-r|--requirement) requirements/([\w-]+)\.txt", file.read_text())
    }
    # movielens.txt and android.txt are downloaded for their files; none of their Python code is installed.
    lists = {path.stem for path in ROOT.glob("requirements/*.txt")} - {"movielens", "android"}
    assert lists == images | installed
