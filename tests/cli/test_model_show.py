"""``marquee model show`` says how a model was trained."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from tests.training.small_model import small_model

from marquee.cli.main import main
from marquee.registry.arm_assignment import Arm
from marquee.registry.artifact import write_artifact
from marquee.registry.manifest import Manifest, Metric, Provenance
from marquee.registry.object_store.connect import connect
from marquee.registry.release import new_release, publish_release

METHOD = "ease: dense float32 inverse, rank 64"


@pytest.fixture
def version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the version of a model in the store that the environment names."""
    url = (tmp_path / "objects").as_uri()
    monkeypatch.setenv("MARQUEE_OBJECTS_URL", url)
    tuning = {
        "chosen": {"rankers.ease.ridge": 100.0},
        "start": {"rankers.ease.ridge": 300.0},
        "note": "mean NDCG@10 of 3 cuts: 0.21, from 0.2",
    }
    origin = Provenance(trainer="bpmf", ranker="ease", ranking_method=METHOD, tuning=tuning)
    return write_artifact(
        connect(url),
        small_model(),
        trained_through=datetime(2026, 1, 1, tzinfo=UTC),
        metrics={"ndcg@10": Metric(0.25, 0.2, 0.3)},
        provenance=origin,
    )


def test_model_show_names_method_and_chosen_parameters(version: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The text has the trainer, the way of the ranker, each chosen parameter and the metrics."""
    assert main(["model", "show", version]) == 0
    output = capsys.readouterr().out
    for expected in ("bpmf", METHOD, "rankers.ease.ridge", "100 (started from 300)", "0.2500 [0.2000, 0.3000]"):
        assert expected in output


def test_model_show_without_version_shows_what_serves(version: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Before a release the command says that nothing serves; afterwards it shows the serving model, as JSON too."""
    assert main(["model", "show"]) == 1
    assert "nothing serves yet" in capsys.readouterr().err
    store = connect(os.environ["MARQUEE_OBJECTS_URL"])
    publish_release(
        store,
        lambda current: new_release((Arm("control", version, 1.0),), author="test", reason="first", after=current),
    )
    assert main(["model", "show", "--json"]) == 0
    manifest = msgspec.json.decode(capsys.readouterr().out, type=Manifest)
    assert (manifest.version, manifest.provenance.ranking_method) == (version, METHOD)


def test_model_show_unknown_version_is_refused(version: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The error names the version, and the command that lists those that exist."""
    assert main(["model", "show", f"{version}x"]) == 1
    assert "there is no artifact" in capsys.readouterr().err
