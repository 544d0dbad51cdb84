"""``marquee retrain``: its exit codes, its options, and what it needs."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from tests.training.runs import PARAMS_FILE

from marquee.cli.main import main
from marquee.registry.object_store.connect import connect


@pytest.fixture
def command(tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """``marquee retrain`` with what it needs, in a store of its own."""
    monkeypatch.setenv("MARQUEE_OBJECTS_URL", f"file://{tmp_path}/objects")
    monkeypatch.delenv("MARQUEE_DATABASE_URL", raising=False)
    return ["retrain", "--base", str(base), "--params", str(PARAMS_FILE)]


def test_exit_codes(command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """0 released, 3 refused, 1 failed: a scheduler can tell them apart."""
    report = tmp_path / "reports/newest.json"
    assert main([*command, "--reason", "by hand", "--report", str(report)]) == 0
    assert "released: release 1: by hand" in capsys.readouterr().out
    assert set(msgspec.json.decode(report.read_bytes())["figures"]) == {"model", "popularity", "bias_only"}
    assert main([*command, "--base-fraction", "0.7"]) == 3
    assert main([*command, "--until", "1969-01-01T00:00Z"]) == 1
    assert "no ratings to learn from" in capsys.readouterr().err
    assert main([*command, "--base-fraction", "7"]) == 1


def test_nobody_asks(
    command: list[str], database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Then nothing is trained, and that is no failure."""
    monkeypatch.setenv("MARQUEE_DATABASE_URL", database_url)
    assert main([*command, "--if-asked"]) == 0
    assert capsys.readouterr().out == "nobody asks for a retraining\n"


def test_no_release(command: list[str], tmp_path: Path) -> None:
    """--no-release stores and judges a model and leaves what serves alone."""
    assert main([*command, "--no-release"]) == 0
    store = connect(f"file://{tmp_path}/objects")
    assert list(store.list("releases/")) == []
    assert len(list(store.list("models/"))) > 5


def test_a_store_has_to_be_named(command: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a store nothing is trained: the error comes first."""
    monkeypatch.delenv("MARQUEE_OBJECTS_URL")
    assert main(command) == 1
