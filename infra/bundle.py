"""Build each function's source archive, as it is deployed: main.py, pinned requirements, the library's wheel.

``python -m infra.bundle [--out DIR]``. The same commit gives the same bytes: only files that git knows are
packed, from a copy with fixed modes; times are the commit's (or ``SOURCE_DATE_EPOCH``); entries are sorted and not
compressed.
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
# What the wheel is built from.
LIBRARY = ("pyproject.toml", "README.md", "LICENSE", "shared/marquee")
OLDEST = 315_532_800  # 1980, before which a zip file knows no time


def commit_time(root: Path) -> int:
    """When the bundles were made, in seconds since 1970: so that it is not the moment of building."""
    if given := os.environ.get("SOURCE_DATE_EPOCH"):
        return max(OLDEST, int(given))
    return max(OLDEST, int(_git(root, "log", "-1", "--format=%ct")))


def build_wheel(root: Path, out: Path, moment: int) -> Path:
    """The library's wheel, from a copy of what git knows of it."""
    with tempfile.TemporaryDirectory() as copy:
        for name in _git(root, "ls-files", "-z", "--", *LIBRARY).split("\0"):
            if name and (root / name).is_file():
                _copy(root / name, Path(copy) / name)
        command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out.resolve())]
        environment = {**os.environ, "SOURCE_DATE_EPOCH": str(moment)}
        subprocess.run(command, cwd=copy, env=environment, check=True, stdout=subprocess.DEVNULL)
    (wheel,) = out.glob("marquee-*.whl")
    return wheel


def bundle(root: Path, function: str, wheel: Path, out: Path, moment: int) -> Path:
    """``<out>/<function>.zip``; returns its path."""
    folder = root / "functions" / function
    tracked = _git(root, "ls-files", "-z", "--", str(folder)).split("\0")
    files = {str((root / name).relative_to(folder)): (root / name).read_bytes() for name in tracked if name}
    files[wheel.name] = wheel.read_bytes()
    files["requirements.txt"] = requirements(root, function, wheel).encode()
    target = out / f"{function}.zip"
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for name, data in sorted(files.items()):
            entry = zipfile.ZipInfo(name, time.gmtime(moment)[:6])
            entry.external_attr = 0o100644 << 16
            entry.create_system = 3
            archive.writestr(entry, data)
    return target


def requirements(root: Path, function: str, wheel: Path) -> str:
    """The function's pins, and the wheel beside them: pip checks the hash of both."""
    pins = (root / "requirements" / f"{function}.txt").read_text()
    return f"{pins}./{wheel.name} \\\n    --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n"


def build(root: Path, out: Path) -> list[Path]:
    """All bundles; returns their paths."""
    out.mkdir(parents=True, exist_ok=True)
    moment = commit_time(root)
    functions = sorted(path.parent.name for path in (root / "functions").glob("*/main.py"))
    with tempfile.TemporaryDirectory() as work:
        wheel = build_wheel(root, Path(work), moment)
        return [bundle(root, function, wheel, out, moment) for function in functions]


def _git(root: Path, *words: str) -> str:
    return subprocess.run(["git", *words], cwd=root, check=True, capture_output=True, text=True).stdout


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(source.read_bytes())
    target.chmod(0o644)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "dist/bundles", metavar="DIR")
    for path in build(ROOT, parser.parse_args().out):
        sys.stdout.write(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path}\n")


if __name__ == "__main__":
    main()
