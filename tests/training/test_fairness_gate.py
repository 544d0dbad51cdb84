"""The gate refuses a model that is less fair than what serves, and its values are kept and shown."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from tests.support.synthetic_data import SECOND, blocks
from tests.training.runs import GOOD, snapshot_request

from marquee.cli.main import main
from marquee.data.dataset_files import read_model, write_model
from marquee.models.trainer_port import no_progress
from marquee.registry import gate_report
from marquee.registry.manifest import read_manifest
from marquee.registry.object_store.file_store import FileStore
from marquee.registry.trained_model import TrainedModel
from marquee.training.pipeline import steps
from marquee.training.pipeline.pipeline_run import HOLDOUT_MODEL, PipelineRun
from marquee.training.pipeline.publish_step import RetrainResult, publish_artifact, store_artifact
from marquee.training.retrain import retrain


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """About 3,300 ratings of 100 users, half of them women, spread over 999 s from 1970 on."""
    directory = tmp_path / "base"
    directory.mkdir()
    ratings = blocks(users=25, items=30)
    ratings.rename(columns={"value": "rating"}).assign(time=ratings["time"] // SECOND).to_csv(
        directory / "ratings.csv", index=False
    )
    users = sorted(set(ratings["user_id"]))
    rows = [f"{user},{30 + n % 2},{'FM'[n % 2]},writer,1" for n, user in enumerate(users)]
    (directory / "users.csv").write_text("\n".join(["user_id,age,gender,occupation,zip", *rows]) + "\n")
    return directory


def spoil_women(model: TrainedModel) -> TrainedModel:
    """Return the model with ratings of women that are off by one and a half."""
    women = np.array([number % 2 == 0 for number in range(len(model.user_ids))])
    biases = np.where(women, model.user_biases + 1.5, model.user_biases).astype(np.float32)
    return replace(model, user_biases=biases)


def publish_next(store: FileStore, base: Path, root: Path, *, spoiled: bool) -> RetrainResult:
    """Release a model of the first 600 s, then publish one of 1,000 s whose holdout model may be spoiled."""
    first = retrain(snapshot_request(base, 600), GOOD, store, commit="abc")
    assert first.outcome == "released", first.reason
    run = PipelineRun(root, GOOD, snapshot_request(base, 1000), no_progress)
    steps.run_all(run)
    if spoiled:
        model = spoil_women(read_model(run.path(HOLDOUT_MODEL)))
        write_model(run.path(HOLDOUT_MODEL), model)
    stored = store_artifact(run, store, None, "abc")
    return publish_artifact(
        run, store, stored, run_name="run", time=datetime(2026, 1, 1, tzinfo=UTC), reason="test", releasing=True
    )


def test_publish_less_fair_model_is_refused_with_values(store: FileStore, base: Path, tmp_path: Path) -> None:
    """The reason names the gap; the gate report has its difference with the interval, and the manifest the gaps."""
    result = publish_next(store, base, tmp_path / "run", spoiled=True)
    assert result.outcome == "refused"
    assert "rmse_gap.gender" in result.reason
    assert "is worse than serving's" in result.reason
    assert result.version
    (report,) = gate_report.load_reports(store, result.version)
    gap = report.differences["serving.rmse_gap.gender"]
    assert gap.low is not None
    assert gap.value > gap.low > 0
    assert {"rmse_gap.gender", "ndcg_gap.gender", "exposure_gini@10"} <= set(
        read_manifest(store, result.version).metrics
    )
    assert set(report.differences) >= {"serving.exposure_gini", "serving.ndcg_gap.gender", "bias_only.rmse"}


def test_model_fairness_shows_the_history(
    store: FileStore,
    base: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """``marquee model fairness`` has a row for each release with its gaps, and the decision on the newest model."""
    result = publish_next(store, base, tmp_path / "run", spoiled=False)
    assert result.outcome == "released", result.reason
    monkeypatch.setenv("MARQUEE_OBJECTS_URL", f"file://{tmp_path / 'objects'}")
    assert main(["model", "fairness"]) == 0
    text = capsys.readouterr().out
    assert "rmse_gap.gender" in text
    assert str(result.version) in text
    assert main(["model", "fairness", "--json"]) == 0
    newest, oldest = json.loads(capsys.readouterr().out)
    assert (newest["release"], newest["version"], oldest["release"]) == (2, result.version, 1)
    assert newest["values"]["exposure_gini@10"]["value"] > 0
    assert newest["differences"]["serving.rmse_gap.gender"]["low"] <= 0.001
    assert newest["outcome"] == "released"


def test_model_fairness_without_release_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a release there is nothing to show, which is no error."""
    monkeypatch.setenv("MARQUEE_OBJECTS_URL", f"file://{tmp_path / 'objects'}")
    assert main(["model", "fairness"]) == 0
    assert "no release" in capsys.readouterr().out
