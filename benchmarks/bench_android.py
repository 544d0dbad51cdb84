"""Size of the Android package."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path

from infra.android.package_build import build_packages
from infra.android.toolchain import fetch_toolchain

from benchmarks.registry import BenchmarkResult, at_most, benchmark


@benchmark("apk_kb")
def package() -> Iterable[BenchmarkResult]:
    """Build the Android package, and measure the size of the signed file that a phone downloads."""
    tools = fetch_toolchain(Path("build/android/tools"))
    with tempfile.TemporaryDirectory() as folder:
        apk = build_packages(tools, Path(folder) / "out", with_bundle=False)["release"].apk
        size = apk.stat().st_size / 1000
    yield at_most("apk_kb", size, "kB", 64, reference="the signed release package; it has no library but Kotlin's")
