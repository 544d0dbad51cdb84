"""The notebook runs as it is, on a small data set."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
from tests.support.base_data import base

__all__ = ["base"]
ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "docs/notebooks/ratings_to_list.ipynb"


def test_notebook_runs_from_ratings_to_an_explained_list(base: Path) -> None:
    """Its code cells, in order and in a process of their own, end with a list whose reasons are the rated movies."""
    document = msgspec.json.decode(NOTEBOOK.read_bytes(), type=dict[str, Any])
    code = ["".join(cell["source"]) for cell in document["cells"] if cell["cell_type"] == "code"]
    assert all(not cell.get("outputs") for cell in document["cells"])
    environment = {**os.environ, "MARQUEE_BASE_DATA": str(base), "PYTHONPATH": str(ROOT / "shared")}
    command = [sys.executable, "-W", "error::DeprecationWarning:__main__", "-c", "\n".join(code)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    *_, heading = [line for line in done.stdout.splitlines() if line.startswith("folded-in: ")]
    liked, disliked = (part.split(" ")[-4] for part in heading.split(", "))
    lines = [line for line in done.stdout.splitlines() if "because of" in line]
    assert len(lines) == 10
    assert all(liked in line or disliked in line for line in lines), done.stdout
