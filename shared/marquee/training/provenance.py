"""What it takes to make a model again."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from marquee.artifacts.manifest import Provenance
from marquee.training.params import Params

_LIBRARIES = ("marquee", "numpy", "scipy", "pandas", "scikit-surprise")


def of(params: Params, hashes: dict[str, str], commit: str = "") -> Provenance:
    """``commit``: where the program is not run from its repository."""
    return Provenance(
        trainer=params.trainer,
        parameters=params.as_dict(),
        seed=params.seed,
        libraries=libraries(),
        commit=commit or git_commit(),
        data=hashes,
    )


def libraries() -> dict[str, str]:
    """The version of Python and of each library that has a say in the numbers."""
    found = {"python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def git_commit() -> str:
    """The commit of the repository around this file, with ``-dirty`` where files differ; "" without one."""
    command = [
        "git",
        "-C",
        str(Path(__file__).parent),
        "describe",
        "--always",
        "--dirty",
        "--abbrev=40",
        "--exclude=*",
    ]
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    try:
        done = subprocess.run(
            [*command, "--exclude=*"],
            capture_output=True,
            text=True,
            env=environment,
            check=False,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
