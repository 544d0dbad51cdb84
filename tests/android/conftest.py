"""The Android package, built once for all tests of this folder, from packages alone."""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path

import pytest
from infra.android.package_build import BuiltPackage, build_packages, locate_packages
from infra.android.toolchain import ROOT, Toolchain, ToolUnavailable, fetch_toolchain, read_toolchain


@dataclass(frozen=True, slots=True)
class Build:
    """The tools, the folder of the build, and its variants."""

    tools: Toolchain
    folder: Path
    variants: dict[str, BuiltPackage]

    @property
    def apk(self) -> Path:
        return self.variants["release"].apk


@pytest.fixture(scope="session")
def tools() -> Toolchain:
    """The tools that `make android` fetches. Without them the tests are skipped, or fetch them with REQUIRE_ANDROID."""
    folder = ROOT / "build/android/tools"
    if os.environ.get("REQUIRE_ANDROID"):
        return fetch_toolchain(folder)
    try:
        return read_toolchain(folder)
    except ToolUnavailable as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def build(tools: Toolchain, tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Build the variants once, also for several workers of pytest-xdist: the first one builds, the others wait."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "android"
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        stamp = folder / "built"
        if not stamp.exists():
            build_packages(tools, folder / "out")
            stamp.touch()
    return Build(tools, folder / "out", locate_packages(folder / "out"))
