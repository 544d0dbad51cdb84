"""Tests of the retraining during an experiment of recipes: all arms in one write, and no user moves."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.support.records import rows
from tests.training.runs import GOOD, SURPRISE_SVD, retrain_until, snapshot_request

from marquee.cli.main import main
from marquee.db.pool import Database
from marquee.db.retrain_queue import pending, request_retrain
from marquee.errors import SettingsError
from marquee.experiments.declaration import parse_declaration
from marquee.experiments.lifecycle import find_recipes, start
from marquee.registry.experiment_steps import end_experiment
from marquee.registry.gate_report import load_reports
from marquee.registry.manifest import read_manifest
from marquee.registry.object_store.object_store import ObjectStore
from marquee.registry.release import read_current_release
from marquee.training.pipeline.publish_step import RetrainResult
from marquee.training.recipe_retraining import apply_recipe, retrain_recipes

WIDER = {"trainers": {"surprise_svd": {**SURPRISE_SVD, "n_factors": 5}}}
UNTRAINED = {"trainers": {"surprise_svd": {**SURPRISE_SVD, "n_epochs": 1, "learning_rate": 1e-6}}}


def _start(store: ObjectStore, base: Path, recipe: dict[str, Any]) -> str:
    """Release a model of the first 600 seconds and start an experiment of two recipes from it; return the version."""
    version = str(retrain_until(store, base, 600).version)
    fields = {"kind": "experiment", "arms": {"control": "", "other": {"recipe": recipe}}, "ladder": [0.2, 0.5]}
    start(store, parse_declaration("recipes", fields), author="test")
    return version


def _retrain(store: ObjectStore, base: Path, database: Database | None = None) -> dict[str, RetrainResult]:
    recipes = find_recipes(store)
    assert recipes
    return retrain_recipes(snapshot_request(base, 1000), GOOD, store, database, *recipes, commit="abc")


def test_retrain_recipes_replaces_all_versions_in_one_release(store: ObjectStore, block_base: Path) -> None:
    """Each arm gets its recipe's model of the same data; salt, weights, share and the users' arms stay."""
    before_all = _start(store, block_base, WIDER)
    before = read_current_release(store)[0]
    assert [arm.version for arm in before.arms] == [before_all, before_all]
    results = _retrain(store, block_base)
    after = read_current_release(store)[0]
    assert {arm: result.outcome for arm, result in results.items()} == {"control": "released", "other": "released"}
    assert [arm.version for arm in after.arms] == [results["control"].version, results["other"].version]
    assert (after.number, after.salt, after.enrolled, after.previous) == (
        before.number + 1, before.salt, before.enrolled, before.previous,
    )  # fmt: skip
    users = [str(number) for number in range(300)]
    assert [after.assign(user).name for user in users] == [before.assign(user).name for user in users]
    manifests = [read_manifest(store, arm.version) for arm in after.arms]
    assert [m.provenance.parameters["trainers"]["surprise_svd"]["n_factors"] for m in manifests] == [8, 5]
    assert len({m.provenance.data["dataset"] for m in manifests}) == 1
    assert {result.serving for result in results.values()} == {before_all}  # Each against its own predecessor.
    kept = end_experiment(store, "recipes", keep="other", author="test")
    assert [arm.version for arm in kept.arms] == [results["other"].version]


@pytest.mark.servers
def test_retrain_recipes_one_bad_model_keeps_all_versions(
    store: ObjectStore, block_base: Path, postgres_database: Database
) -> None:
    """The bad recipe's model is refused with its reason; the good one is held, and what serves does not change.

    Both runs are recorded, and the monitor's request for a retraining is closed for good.
    """
    _start(store, block_base, UNTRAINED)
    before, now = read_current_release(store)[0], datetime.now(UTC)
    request_retrain(postgres_database, "drift", "v", "strong drift", now)
    results = _retrain(store, block_base, postgres_database)
    assert pending(postgres_database, now + timedelta(hours=3)) == []
    recorded = rows(postgres_database, "SELECT outcome, version FROM retrain_runs ORDER BY run")
    assert recorded == [(result.outcome, result.version) for _, result in sorted(results.items())]
    assert {arm: result.outcome for arm, result in results.items()} == {"control": "held", "other": "refused"}
    assert "other has no good model" in results["control"].reason
    assert read_current_release(store)[0] == before
    (report,) = load_reports(store, str(results["other"].version))
    assert report.outcome == "refused"


def test_apply_recipe_changes_the_named_values_alone() -> None:
    """A recipe is merged into params.yaml; data, holdout and gate are the same for all arms."""
    changed = apply_recipe(GOOD, {"ranker": "pure_svd", "trainers": {"surprise_svd": {"n_factors": 3}}}, "other")
    assert (changed.ranker, changed.trainer) == ("pure_svd", "surprise_svd")
    assert changed.trainers["surprise_svd"] == {**SURPRISE_SVD, "n_factors": 3}
    assert msgspec.structs.replace(changed, ranker=GOOD.ranker, trainers=GOOD.trainers) == GOOD
    assert apply_recipe(GOOD, {}, "control") == GOOD
    for recipe, message in (({"data": {}}, "data cannot differ"), ({"ranker": "none"}, "'none' has no section")):
        with pytest.raises(SettingsError, match=message):
            apply_recipe(GOOD, recipe, "other")


def test_retrain_command_trains_the_recipes_of_the_running_experiment(
    store: ObjectStore,
    block_base: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The nightly `marquee retrain` notices the experiment; a recipe is a file beside the declaration."""
    monkeypatch.setenv("MARQUEE_OBJECTS_URL", (tmp_path / "objects").as_uri())
    monkeypatch.chdir(tmp_path)
    retrain_until(store, block_base, 600)
    (tmp_path / "params.yaml").write_bytes(msgspec.yaml.encode(GOOD.as_dict()))
    (tmp_path / "wide.yaml").write_bytes(msgspec.yaml.encode(WIDER))
    (tmp_path / "recipes.yaml").write_text(
        "kind: experiment\narms: {control: '', other: {recipe: wide.yaml}}\nladder: [0.2, 0.5]\n"
    )
    assert main(["experiment", "start", "recipes.yaml"]) == 0
    assert main(["retrain", "--base", str(block_base), "--until", "1970-01-01T00:16:40Z"]) == 0
    output = capsys.readouterr().out
    assert output.count("released: release 3, all arms of recipes") == 2
    (tmp_path / "wide.yaml").write_text("holdout_fraction: 0.5\n")
    (tmp_path / "others.yaml").write_text((tmp_path / "recipes.yaml").read_text())
    end_experiment(store, "recipes", keep="control", author="test")
    assert main(["experiment", "start", "others.yaml"]) == 1
    assert "holdout_fraction cannot differ" in capsys.readouterr().err
