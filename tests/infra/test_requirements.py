"""The pinned lists of requirements/ are closed: `pip install --no-deps` installs everything that is needed."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
# infra.txt and audit.txt have environments of their own, in which `pip check` runs; movielens.txt and
# android.txt are never installed.
LISTS = sorted(path.stem for path in ROOT.glob("requirements/*.txt") if path.stem in {*EXTRAS, "build"})


def read_pins(name: str) -> dict[str, str]:
    """Return version by package."""
    text = (ROOT / f"requirements/{name}.txt").read_text()
    return {canonicalize_name(package): version for package, version in re.findall(r"^(\S+?)==(\S+)", text, re.M)}


def roots(name: str) -> list[Requirement]:
    """Return what the list is resolved from: an extra with the extras that it names, or a .in file."""
    source = ROOT / f"requirements/{name}.in"
    if source.exists():
        lines = source.read_text().splitlines()
        return [Requirement(line) for line in lines if line and not line.startswith("#")]
    names, listed = [name], [Requirement(line) for line in PROJECT["dependencies"]]
    while names:
        for requirement in map(Requirement, EXTRAS[names.pop()]):
            if requirement.name == "marquee":
                names += requirement.extras
            else:
                listed.append(requirement)
    return listed


def dependencies(requirement: Requirement) -> Iterator[Requirement]:
    """Yield what the installed package requires here, with the extras of ``requirement``."""
    for line in metadata.requires(requirement.name) or ():
        child = Requirement(line)
        environments: Iterable[dict[str, str]] = [{"extra": extra} for extra in ("", *requirement.extras)]
        if child.marker is None or any(child.marker.evaluate(environment) for environment in environments):
            yield child


@pytest.mark.parametrize("name", LISTS)
def test_requirements_list_is_closed(name: str) -> None:
    """Every dependency, at any depth, is pinned in the list at a version that the dependent accepts.

    The dependencies are those of the installed packages: dev.txt constrains every list, so the versions are the same.
    Packages of an extra that is not installed (Spark) are not followed.
    """
    pins, queue, done = read_pins(name), roots(name), set[str]()
    while queue:
        requirement = queue.pop()
        if str(requirement) in done:
            continue
        done.add(str(requirement))
        package = canonicalize_name(requirement.name)
        assert package in pins, f"{requirement} is not in requirements/{name}.txt"
        assert requirement.specifier.contains(pins[package], prereleases=True), str(requirement)
        try:
            installed = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
        assert Version(installed) == Version(pins[package]), f"{package}: {installed} is installed"
        queue += dependencies(requirement)
    assert len(done) >= len(pins) / 2


WRITING_CLIENTS = {"boto3", "google-cloud-storage"}


def test_requirements_of_recommend_have_no_writing_client() -> None:
    """It only reads objects, through obstore; the clouds' own clients are 60 MB that it never imports."""
    assert "obstore" in read_pins("recommend")
    assert not WRITING_CLIENTS & set(read_pins("recommend"))


@pytest.mark.parametrize("name", ["monitor", "retrain"])
def test_requirements_of_publishers_have_both_clients(name: str) -> None:
    """The monitor ramps and rolls back releases, and a retraining publishes them, on any object store."""
    assert {"obstore", *WRITING_CLIENTS} <= set(read_pins(name))


@pytest.mark.parametrize("name", sorted(path.parent.name for path in ROOT.glob("[fj]*s/*/main.py")))
def test_requirements_list_exists_for_each_part(name: str) -> None:
    """Each function and job installs the list of its name."""
    assert read_pins(name)
