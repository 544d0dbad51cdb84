"""Resolve ``requirements/*.txt`` anew from ``pyproject.toml``: hashes, and no index or host.

``dev.txt`` is resolved first and constrains the others, so that what is tested is what is deployed.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
EXTRAS = (
    "dev",
    "local",
    "recommend",
    "ingest",
    "monitor",
    "bridge",
    "migrate",
    "retrain",
    "spark",
    "scheduler",
    "simulate",
)
FLAGS = [
    "--quiet",
    "--generate-hashes",
    "--allow-unsafe",
    "--strip-extras",
    "--no-header",
    "--no-annotate",
    "--no-emit-index-url",
    "--no-emit-find-links",
    "--no-emit-trusted-host",
]
# The project itself, which pip-tools lists where one extra names another, has no hash and a local path.
OURSELVES = re.compile(
    r"^(# WARNING: pip install|# Consider using|# The following packages|marquee @ ).*\n", re.M
)


def compile_extra(extra: str) -> None:
    """Write ``requirements/<extra>.txt``."""
    target = HERE / f"{extra}.txt"
    constraint = [] if extra == "dev" else ["--constraint", str(HERE / "dev.txt")]
    command = [sys.executable, "-m", "piptools", "compile", *FLAGS, "--extra", extra, *constraint]
    subprocess.run([*command, "-o", str(target), "pyproject.toml"], cwd=HERE.parent, check=True)
    target.write_text(OURSELVES.sub("", target.read_text()))


if __name__ == "__main__":
    for name in sys.argv[1:] or EXTRAS:
        sys.stderr.write(f"resolving {name} (minutes) ...\n")
        compile_extra(name)
