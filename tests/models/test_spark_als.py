"""``engine: spark`` trains with real pyspark in local mode, through the pipeline and the release policy."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from tests.support.synthetic_data import checkerboard, dataset

from marquee.errors import SettingsError
from marquee.models import spark_als
from marquee.models.trainer_port import no_progress
from marquee.registry import release
from marquee.registry.artifact import verify_artifact
from marquee.registry.object_store.connect import connect
from marquee.serving.engine import Engine
from marquee.serving.user_state import build_user_state
from marquee.training.params import Params

ROOT = Path(__file__).parents[2]
# A tenth of the work; the model still passes the release policy.
QUICKER = {
    "    factors: 32\n    iterations: 10\n": "    factors: 8\n    iterations: 3\n",
    "    blocks: 2\n": "    blocks: 1\n",
}
SECTION = {"master": "local[2]", "factors": 4, "iterations": 1, "regularisation": 0.1, "blocks": 2}


def _params_with_spark(directory: Path) -> Path:
    text = (ROOT / "params.yaml").read_text()
    assert text.count("\nengine: local") == 1
    text = text.replace("\nengine: local", "\nengine: spark")
    for line, shorter in QUICKER.items():
        assert text.count(line) == 1
        text = text.replace(line, shorter)
    path = directory / "params.yaml"
    path.write_text(text)
    return path


@pytest.mark.servers
@pytest.mark.long
@pytest.mark.timeout(420)  # Half a minute; a JVM on a machine that does much else can take minutes.
@pytest.mark.skipif(find_spec("pyspark") is None, reason="NOT TESTED: no pyspark here; `make .venv/.spark` installs it")
@pytest.mark.skipif(
    shutil.which("java") is None and "JAVA_HOME" not in os.environ,
    reason="NOT TESTED: Spark needs Java 17 or 21",
)
def test_retrain_spark_engine_releases_a_serving_model(base_data: Path, tmp_path: Path) -> None:
    """The released artifact beats the biases, records its trainer, and serves recommendations."""
    words = [
        "retrain",
        "--base",
        str(base_data),
        "--no-database",
        "--params",
        str(_params_with_spark(tmp_path)),
    ]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MARQUEE_")}
    environment |= {
        "MARQUEE_OBJECTS_URL": (tmp_path / "objects").as_uri(),
        "PYTHONPATH": str(ROOT / "shared"),
    }
    done = subprocess.run(
        [sys.executable, "-m", "marquee.cli.main", *words],
        env=environment,
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    store = connect((tmp_path / "objects").as_uri())
    version = release.read_current_release(store)[0].arms[0].version
    manifest = verify_artifact(store, version)
    assert (manifest.provenance.trainer, manifest.provenance.ranker) == ("spark_als", "ease")
    assert manifest.provenance.parameters["engine"] == "spark"
    assert "pyspark" in manifest.provenance.libraries
    assert manifest.rating_rank == 8
    assert manifest.metrics["rmse"].value < manifest.metrics["bias_only.rmse"].value
    engine = Engine.load(store, version)
    profile = build_user_state(engine.item_factors, engine.read_record("42"), None)
    _, items = engine.recommend(profile, 20)
    assert len({item.movie_id for item in items}) == 20
    ratings = engine.predict(profile, np.arange(200))
    assert 1 <= min(ratings) < max(ratings) <= 5


def test_fit_without_pyspark_names_the_requirements(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what to install."""
    monkeypatch.setattr(spark_als, "find_spec", lambda name: None)
    with pytest.raises(SettingsError, match=r"install requirements/spark\.txt"):
        spark_als.fit(dataset(checkerboard(6, 6)), SECTION, 0, no_progress)


def test_fit_without_java_names_its_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the supported versions of Java."""
    monkeypatch.setattr(spark_als, "find_spec", lambda name: object())
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(SettingsError, match="needs Java 17 or 21"):
        spark_als.fit(dataset(checkerboard(6, 6)), SECTION, 0, no_progress)


def test_params_unknown_engine_is_refused(tmp_path: Path) -> None:
    """The error lists the engines that exist."""
    path = _params_with_spark(tmp_path)
    path.write_text(path.read_text().replace("engine: spark", "engine: steam"))
    with pytest.raises(SettingsError, match="engine is 'steam'; use one of local, spark"):
        Params.read(path)


def test_params_spark_engine_overrides_trainer(tmp_path: Path) -> None:
    """The engine determines the trainer of the rating model."""
    params = Params.read(_params_with_spark(tmp_path))
    assert (params.trainer, params.rating_trainer) == ("bpmf", "spark_als")
    assert Params.read(ROOT / "params.yaml").rating_trainer == "bpmf"
