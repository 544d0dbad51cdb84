"""Write the import layers and the code map of docs/architecture.md from pyproject.toml and the tree.

``python -m docs.code_map`` rewrites the page. The layers are those of the import contract; a package's description is
the first line of its docstring.
"""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

from docs.marked_sections import replace_section

ROOT = Path(__file__).parents[1]
LIBRARY = ROOT / "shared/marquee"
PAGE = ROOT / "docs/architecture.md"


def import_layers() -> list[list[str]]:
    """Return the layers of the import contract, top to bottom; packages of one layer are independent."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (layered,) = (contract for contract in contracts if contract["type"] == "layers")
    return [[name.strip() for name in re.split(r"[|:]", line)] for line in layered["layers"]]


def describe(package: Path) -> str:
    """Return the first line of a package's or module's docstring, without its full stop."""
    path = package / "__init__.py" if package.is_dir() else package.with_suffix(".py")
    docstring = ast.get_docstring(ast.parse(path.read_text()))
    if not docstring:
        raise ValueError(f"{path.relative_to(ROOT)} needs a docstring")
    return docstring.splitlines()[0].rstrip(".").replace("``", "`")


def layers_table() -> str:
    """Return the layers with their packages and descriptions as Markdown, the lowest first."""
    rows = ["| layer | package | contents |", "|---|---|---|"]
    for number, layer in enumerate(reversed(import_layers()), 1):
        for name in layer:
            path = LIBRARY / name
            link = f"[`{name}`](../shared/marquee/{name if path.is_dir() else name + '.py'})"
            rows.append(f"| {number} | {link} | {describe(path)} |")
    return "\n".join(rows)


def subpackages_table() -> str:
    """Return the packages within packages as Markdown."""
    rows = ["| package | contents |", "|---|---|"]
    for path in sorted(LIBRARY.glob("*/**/__init__.py")):
        package = path.parent
        if package.parent != LIBRARY:
            name = package.relative_to(LIBRARY).as_posix()
            rows.append(f"| [`{name}`](../shared/marquee/{name}) | {describe(package)} |")
    return "\n".join(rows)


def architecture_page() -> str:
    """Return docs/architecture.md with its generated sections."""
    page = replace_section(PAGE.read_text(), "import layers", layers_table())
    return replace_section(page, "packages within packages", subpackages_table())


if __name__ == "__main__":
    PAGE.write_text(architecture_page())
