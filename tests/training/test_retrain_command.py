"""``marquee retrain``: exit codes, options and required settings."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from tests.training.runs import PARAMS_FILE

from marquee.cli.main import main
from marquee.registry.object_store.connect import connect


@pytest.fixture
def command(tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A ``marquee retrain`` command line, with an empty object store."""
    monkeypatch.setenv("MARQUEE_OBJECTS_URL", f"file://{tmp_path}/objects")
    monkeypatch.delenv("MARQUEE_DATABASE_URL", raising=False)
    return ["retrain", "--base", str(base), "--params", str(PARAMS_FILE)]


def test_retrain_command_exit_code_tells_outcome(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The exit code is 0 for released, 3 for refused and 1 for failed."""
    report = tmp_path / "reports/holdout.json"
    assert main([*command, "--reason", "by hand", "--report", str(report)]) == 0
    assert "released: release 1: by hand" in capsys.readouterr().out
    assert set(msgspec.json.decode(report.read_bytes())["metrics"]) == {"model", "popularity", "bias_only"}
    assert main([*command, "--base-fraction", "0.7"]) == 3
    assert main([*command, "--until", "1969-01-01T00:00Z"]) == 1
    assert "no ratings to learn from" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main([*command, "--base-fraction", "7"])


def test_retrain_command_without_request_does_nothing(
    command: list[str], database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With --if-requested and no open request nothing is trained, and the exit code is 0."""
    monkeypatch.setenv("MARQUEE_DATABASE_URL", database_url)
    assert main([*command, "--if-requested"]) == 0
    assert capsys.readouterr().out == "no retraining is requested\n"


def test_retrain_command_no_release_stores_model_only(command: list[str], tmp_path: Path) -> None:
    """--no-release stores a model and publishes no release."""
    assert main([*command, "--no-release"]) == 0
    store = connect(f"file://{tmp_path}/objects")
    assert list(store.list("releases/")) == []
    assert len(list(store.list("models/"))) > 5


def test_retrain_command_without_store_fails(command: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an object store the command fails before anything is trained."""
    monkeypatch.delenv("MARQUEE_OBJECTS_URL")
    assert main(command) == 1
