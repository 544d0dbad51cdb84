"""YAML that people write: what cannot be read is named with its file."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from marquee.cli.declaration_files import read_declaration_file
from marquee.config.settings import Settings
from marquee.config.yaml_file import load_yaml, read_yaml
from marquee.errors import SettingsError
from marquee.training.params import Params

ODD = {
    "date that does not exist": b"a: 2026-02-30\n",
    "Latin-1": b"a: \xe9\n",
    "NUL": b"a: \0\n",
    "too deep": b"[" * 5_000,
    "tag of Python": b"!!python/object/apply:os.system [id]\n",
}


@pytest.mark.parametrize("content", ODD.values(), ids=ODD)
def test_read_yaml_unreadable_document_is_refused(tmp_path: Path, content: bytes) -> None:
    """The error names the file, for declarations and parameters, too."""
    path = tmp_path / "odd.yaml"
    path.write_bytes(content)
    for read in (
        lambda: read_yaml(path, dict[str, str]),
        lambda: read_declaration_file(path, Settings.from_mapping({})),
        lambda: Params.read(path),
    ):
        with pytest.raises(SettingsError, match=r"odd\.yaml"):
            read()


def test_read_declaration_file_policy_with_an_odd_date_is_refused(tmp_path: Path) -> None:
    """The file that the arm names is the one that the error names."""
    (tmp_path / "policy.yaml").write_text("pins: [{movie_id: a, position: 1, since: 2026-02-30}]\n")
    path = tmp_path / "e.yaml"
    path.write_text("kind: experiment\narms: {control: '', new: {version: v2, policy: policy.yaml}}\n")
    with pytest.raises(SettingsError, match=r"policy\.yaml is not YAML: day is out of range"):
        read_declaration_file(path, Settings.from_mapping({}))


def test_load_yaml_is_read_as_utf8_whatever_the_locale(tmp_path: Path) -> None:
    """The encoding of the environment is not that of the file."""
    path = tmp_path / "a.yaml"
    path.write_bytes("a: é\n".encode())
    assert load_yaml(path) == {"a": "é"}


@pytest.mark.parametrize(
    ("name", "value"), [("holdout_fraction", ".nan"), ("holdout_fraction", "-0.1"), ("seed", "-5"), ("seed", "1e400")]
)
def test_params_impossible_number_is_refused(name: str, value: str) -> None:
    """The error names the parameter before anything is trained."""
    sound = Path("params.yaml").read_text(encoding="utf-8")
    odd = re.sub(rf"(?m)^{name}: .*$", f"{name}: {value}", sound)
    assert odd != sound
    with pytest.raises(SettingsError, match=name):
        Params.parse(odd.encode(), "params.yaml")
