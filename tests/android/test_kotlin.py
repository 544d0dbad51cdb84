"""The app's own unit tests in Kotlin, which Gradle runs as well: addresses, history, reports of failed runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from infra.android.package_build import SOURCES, compile_kotlin
from tests.android.conftest import Build

pytestmark = pytest.mark.timeout(600)  # The first test builds the package, or waits for its build.
JARS = [Path("/usr/share/java") / name for name in ("junit4.jar", "hamcrest-core.jar")]


def test_kotlin_unit_tests_pass(build: Build, tmp_path: Path) -> None:
    """Every test of android/app/src/test passes on a Java virtual machine."""
    if missing := [str(jar) for jar in JARS if not jar.is_file()]:
        pytest.skip(f"there is no {' and no '.join(missing)}; run: apt-get install junit4")
    sources = sorted((SOURCES / "test/kotlin").rglob("*.kt"))
    libraries = [build.folder / "classes", build.tools / "stubs.jar", *JARS]
    compile_kotlin(build.tools, tmp_path, libraries, sources)
    names = [f"app.marquee.{source.stem}" for source in sources]
    classpath = [tmp_path, *libraries, build.tools / "kotlin-stdlib.jar"]
    output = build.tools.run_java(classpath, "org.junit.runner.JUnitCore", *names)
    written = sum(source.read_text().count("@Test") for source in sources)
    assert re.findall(r"OK \((\d+) tests\)", output) == [str(written)]
