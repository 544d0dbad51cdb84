"""Tests of the function bundles: each runs in a clean environment with its own requirements."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from infra import bundle
from marquee.app.template_environment import compile_templates
from marquee.local.infra_spec import read_functions

ROOT = Path(__file__).parents[2]
FUNCTIONS = sorted(path.parent.name for path in (ROOT / "functions").glob("*/main.py"))

# Load main.py as functions-framework does, and request a path that needs no settings.
START = """
import sys, functions_framework
app = functions_framework.create_app(sys.argv[1], "main.py")
answer = app.test_client().get("/healthz")
print(answer.status_code)
"""


@pytest.fixture(scope="session")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archives, built as for a deployment."""
    out = tmp_path_factory.mktemp("bundles")
    bundle.build_bundles(ROOT, out)
    return out


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("function", FUNCTIONS)
def test_bundle_starts_in_a_clean_environment(function: str, bundles: Path, tmp_path: Path) -> None:
    """The requirements install by hash, and main.py loads and answers without settings."""
    source = tmp_path / "source"
    with zipfile.ZipFile(bundles / f"{function}.zip") as archive:
        archive.extractall(source)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "venv")], check=True)
    python = str(tmp_path / "venv/bin/python")
    # With this environment's pip: installing another one takes seconds and adds a package that no function needs.
    pip = [sys.executable, "-m", "pip", "--python", python, "--quiet", "--disable-pip-version-check"]
    # The list is complete, so nothing is resolved; `pip check` below verifies that.
    install = [*pip, "install", "--no-compile", "--no-deps", "--require-hashes", "-r", "requirements.txt"]
    subprocess.run(install, cwd=source, check=True)
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("MARQUEE_") and name not in ("PYTHONPATH", "VIRTUAL_ENV")
    }
    target = read_functions(ROOT)[function].source.split("/")[-1]
    started = subprocess.run([python, "-c", START, target], cwd=source, env=environment, capture_output=True, text=True)
    assert started.returncode == 0, started.stderr
    assert started.stdout.split()[-1] == "200", started.stderr
    checked = subprocess.run([*pip, "check"], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout


def test_bundle_same_commit_has_the_same_bytes(bundles: Path, tmp_path: Path) -> None:
    """Whatever umask, time zone, locale and hash seed the build has."""
    environment = {**os.environ, "TZ": "Asia/Kathmandu", "LC_ALL": "C", "PYTHONHASHSEED": "7"}
    command = [sys.executable, "-m", "infra.bundle", "--out", str(tmp_path / "again")]
    subprocess.run(command, cwd=ROOT, env=environment, umask=0o077, check=True, capture_output=True)
    for function in FUNCTIONS:
        name = f"{function}.zip"
        assert (bundles / name).read_bytes() == (tmp_path / "again" / name).read_bytes(), name


def test_bundle_has_only_deployed_files(bundles: Path) -> None:
    """Sorted, with the commit's time and one mode for all."""
    for function in FUNCTIONS:
        with zipfile.ZipFile(bundles / f"{function}.zip") as archive:
            entries = archive.infolist()
        names = [entry.filename for entry in entries]
        assert names == sorted(names)
        assert {"main.py", "requirements.txt"} < set(names)
        assert [name for name in names if name.endswith(".whl")]
        assert not [name for name in names if "__pycache__" in name]
        assert {entry.external_attr >> 16 for entry in entries} == {0o100644}
        assert len({entry.date_time for entry in entries}) == 1


def test_bundle_wheel_has_the_compiled_templates(bundles: Path, tmp_path: Path) -> None:
    """A cold start of the app loads modules instead of compiling templates; there is one for each template."""
    compile_templates(tmp_path)
    with zipfile.ZipFile(bundles / "app.zip") as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".whl")]
        with zipfile.ZipFile(io.BytesIO(archive.read(name))) as wheel:
            packed = {Path(name).name: wheel.read(name) for name in wheel.namelist() if "/compiled_templates/" in name}
    assert packed == {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert len(packed) == len(list((ROOT / "shared/marquee/app/templates").glob("*.html")))


def test_bundle_exists_for_each_described_function(bundles: Path) -> None:
    """Terraform looks for one by the name in infra/functions.yaml."""
    described = read_functions(ROOT)
    assert {"ingest", "monitor", "recommend"} <= set(described)
    assert {path.stem for path in bundles.glob("*.zip")} == set(described)


def test_app_starts_without_the_driver_of_the_database() -> None:
    """Only the page of the user's choices needs it, and its import would delay each cold start."""
    program = f"{START}print(*(name for name in ('psycopg2', 'numpy', 'marquee.db') if name in sys.modules))"
    started = subprocess.run(
        [sys.executable, "-c", program, "app"],
        cwd=ROOT / "functions/app",
        env={**os.environ, "PYTHONPATH": str(ROOT / "shared")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert started.stdout.split() == ["200"], started.stderr
