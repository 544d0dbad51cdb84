"""Resolve the pinned lists ``requirements/*.txt``, with hashes and without the name of an index or host.

A list belongs to an extra of pyproject.toml or to a file ``requirements/<name>.in``. ``dev.txt`` is resolved first and
constrains the lists that are deployed, so that the tested versions are the deployed ones.
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
    "events",
    "monitor",
    "bridge",
    "migrate",
    "retention",
    "retrain",
    "spark",
    "scheduler",
    "simulate",
    "app",
)
# Environments of their own, which dev.txt does not constrain.
TOOLS = ("infra", "audit")
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
# pip-tools lists the project itself where one extra names another; it has a local path and no hash.
PROJECT = re.compile(r"^(# WARNING: pip install|# Consider using|# The following packages|marquee @ ).*\n", re.M)


def compile_list(name: str) -> None:
    """Write ``requirements/<name>.txt``."""
    source, target = HERE / f"{name}.in", HERE / f"{name}.txt"
    command = [sys.executable, "-m", "piptools", "compile", *FLAGS, "--output-file", str(target)]
    if name not in ("dev", *TOOLS):
        command += ["--constraint", str(HERE / "dev.txt")]
    command += [str(source)] if source.exists() else ["--extra", name, "pyproject.toml"]
    subprocess.run(command, cwd=HERE.parent, check=True)
    target.write_text(PROJECT.sub("", target.read_text()))


if __name__ == "__main__":
    for name in sys.argv[1:] or (*EXTRAS, "build", *TOOLS):
        sys.stderr.write(f"resolving {name} (minutes) ...\n")
        compile_list(name)
