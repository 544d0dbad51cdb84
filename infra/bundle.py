"""Source archives of the functions: main.py, pinned requirements and the library's wheel.

``python -m infra.bundle [--out DIR]``. The same commit gives the same bytes: only tracked files are packed, with fixed
modes and the time of the commit (or ``SOURCE_DATE_EPOCH``). Entries are sorted and not compressed.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
# Sources of the wheel.
LIBRARY = ("pyproject.toml", "README.md", "LICENSE", "shared/marquee")
COMPILE_TEMPLATES = "marquee.app.template_environment"
# 1980, the earliest time that a zip file can hold.
MIN_TIME_S = 315_532_800


def commit_time(root: Path) -> int:
    """Return the time of the commit in seconds since 1970; the time of the build would change the bytes."""
    if given := os.environ.get("SOURCE_DATE_EPOCH"):
        return max(MIN_TIME_S, int(given))
    return max(MIN_TIME_S, int(_git(root, "log", "-1", "--format=%ct")))


def build_wheel(root: Path, out: Path, time_s: int, python: str = sys.executable) -> Path:
    """Build the library's wheel from a copy of its tracked files, with the packages of ``python``."""
    with tempfile.TemporaryDirectory() as copy:
        for name in _git(root, "ls-files", "-z", "--", *LIBRARY).split("\0"):
            if name and (root / name).is_file():
                _copy(root / name, Path(copy) / name)
        environment = {**os.environ, "SOURCE_DATE_EPOCH": str(time_s)}
        sources = environment | {"PYTHONPATH": "shared", "PYTHONDONTWRITEBYTECODE": "1"}
        subprocess.run([sys.executable, "-m", COMPILE_TEMPLATES], cwd=copy, env=sources, check=True)
        command = [python, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out.resolve())]
        subprocess.run(command, cwd=copy, env=environment, check=True, stdout=subprocess.DEVNULL)
    (wheel,) = out.glob("marquee-*.whl")
    return wheel


def write_bundle(root: Path, function: str, wheel: Path, out: Path, time_s: int) -> Path:
    """Write ``<out>/<function>.zip`` and return its path."""
    folder = root / "functions" / function
    tracked = _git(root, "ls-files", "-z", "--", str(folder)).split("\0")
    files = {str((root / name).relative_to(folder)): (root / name).read_bytes() for name in tracked if name}
    files[wheel.name] = wheel.read_bytes()
    files["requirements.txt"] = list_requirements(root, function, wheel).encode()
    target = out / f"{function}.zip"
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for name, data in sorted(files.items()):
            entry = zipfile.ZipInfo(name, time.gmtime(time_s)[:6])
            entry.external_attr = 0o100644 << 16
            entry.create_system = 3
            archive.writestr(entry, data)
    return target


def list_requirements(root: Path, function: str, wheel: Path) -> str:
    """Return the function's pins and the wheel, with hashes that pip checks."""
    pins = (root / "requirements" / f"{function}.txt").read_text()
    return f"{pins}./{wheel.name} \\\n    --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n"


def build_bundles(root: Path, out: Path) -> list[Path]:
    """Build all archives and return their paths."""
    out.mkdir(parents=True, exist_ok=True)
    time_s = commit_time(root)
    functions = sorted(path.parent.name for path in (root / "functions").glob("*/main.py"))
    with tempfile.TemporaryDirectory() as work:
        wheel = build_wheel(root, Path(work), time_s)
        return [write_bundle(root, function, wheel, out, time_s) for function in functions]


def _git(root: Path, *words: str) -> str:
    return subprocess.run(["git", *words], cwd=root, check=True, capture_output=True, text=True).stdout


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(source.read_bytes())
    target.chmod(0o644)


def main() -> None:
    """Build all archives and print their hashes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "dist/bundles", metavar="DIR")
    for path in build_bundles(ROOT, parser.parse_args().out):
        sys.stdout.write(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path}\n")


if __name__ == "__main__":
    main()
