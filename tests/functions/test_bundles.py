"""What is deployed runs on its own: each function in a clean environment with its pinned requirements and the wheel."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FUNCTIONS = sorted(path.parent.name for path in (ROOT / "functions").glob("*/main.py"))

# Loads main.py as functions-framework does when an instance starts, and asks for a path that needs nothing.
START = """
import sys, functions_framework
app = functions_framework.create_app(sys.argv[1], sys.argv[2])
answer = app.test_client().get("/healthz")
print(answer.status_code)
"""


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library, built as it is for a deployment."""
    out = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)], cwd=ROOT, check=True
    )
    (built,) = out.glob("marquee-*.whl")
    return built


@pytest.mark.timeout(300)
@pytest.mark.parametrize("function", FUNCTIONS)
def test_function_starts_in_a_clean_environment(function: str, wheel: Path, tmp_path: Path) -> None:
    """Its requirements install by hash, its main.py loads and answers, with no settings and nothing else installed."""
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    python = str(tmp_path / "venv/bin/python")
    # The list is complete, so nothing is resolved; `pip check` below says whether that is so.
    pip = [
        python,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-compile",
        "--no-deps",
    ]
    subprocess.run([*pip, "--require-hashes", "-r", str(ROOT / f"requirements/{function}.txt")], check=True)
    subprocess.run([*pip, str(wheel)], check=True)
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("MARQUEE_") and name not in ("PYTHONPATH", "VIRTUAL_ENV")
    }
    started = subprocess.run(
        [python, "-c", START, function, str(ROOT / f"functions/{function}/main.py")],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert started.returncode == 0, started.stderr
    assert started.stdout.split()[-1] == "200", started.stderr
    checked = subprocess.run([python, "-m", "pip", "check"], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout


def test_there_are_functions() -> None:
    """A glob that finds nothing would pass everything above."""
    assert {"ingest", "recommend"} <= set(FUNCTIONS)
