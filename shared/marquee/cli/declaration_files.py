"""Files of declarations: YAML that people write."""

from __future__ import annotations

from pathlib import Path

from marquee.config.settings import Settings
from marquee.config.yaml_file import load_yaml
from marquee.experiments.declaration import Declaration, parse_declaration

CANARY_FILE = Path("experiments/canary.yaml")


def read_declaration_file(path: Path | None, settings: Settings) -> Declaration:
    """Read a declaration, which is named after its file; without a file, return that of a canary with the defaults.

    Raises :class:`SettingsError` if the file cannot be read, ``InvalidDeclaration`` if a field is wrong.
    """
    if path is None:
        declaration = parse_declaration("canary", {"kind": "canary"})
    else:
        declaration = parse_declaration(path.name.split(".")[0], _read_with_files(path))
    return declaration.on_one_machine() if settings.release_policy == "quick-canary" else declaration


def _read_with_files(path: Path) -> object:
    """Return the document with the contents of the files that its arms name, relative to its directory."""
    document = load_yaml(path)
    arms = document.get("arms") if isinstance(document, dict) else None
    for arm in arms.values() if isinstance(arms, dict) else ():
        for field in ("policy", "recipe") if isinstance(arm, dict) else ():
            if isinstance(arm.get(field), str):
                arm[field] = load_yaml(path.parent / arm[field])
    return document
