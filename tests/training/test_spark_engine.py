"""``engine: spark`` on a cluster of two workers, as processes of this machine; and its errors without Spark."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path

import msgspec
import numpy as np
import pytest
from tests.training.runs import PARAMS, write_block_ratings

from marquee.errors import ObjectStoreUnavailable, SettingsError
from marquee.registry import release
from marquee.registry.artifact import verify_artifact
from marquee.registry.object_store.connect import connect
from marquee.serving.engine import Engine
from marquee.serving.user_state import build_user_state
from marquee.training.cluster import spark_engine, spark_session
from marquee.training.cluster.spark_engine import open_engine
from marquee.training.params import Params

ROOT = Path(__file__).parents[2]
SECTION = """
spark:
  master: local-cluster[2,1,1024]
  shards: 2
  factors: 7
  iterations: 3
  config: {spark.eventLog.enabled: "true", spark.eventLog.dir: EVENTS, spark.eventLog.compress: "false"}
"""


def _write_params(directory: Path) -> Path:
    text = (ROOT / "params.yaml").read_text()
    text, replaced = re.subn(r"\nspark:.*\n(  .*\n)+", SECTION.replace("EVENTS", directory.as_uri() + "/events"), text)
    assert replaced == 1
    (directory / "events").mkdir()
    path = directory / "params.yaml"
    path.write_text(text)
    return path


def _executors(directory: Path) -> set[str]:
    """Return the executors that ran a task, from Spark's event log."""
    lines = [line for path in directory.rglob("*") if path.is_file() for line in path.read_bytes().splitlines()]
    events = [msgspec.json.decode(line) for line in lines if line.startswith(b'{"Event":"SparkListenerTaskEnd"')]
    return {event["Task Info"]["Executor ID"] for event in events}


@pytest.mark.servers
@pytest.mark.long
@pytest.mark.timeout(580)  # Half a minute; JVMs on a machine that does much else can take minutes.
@pytest.mark.skipif(find_spec("pyspark") is None, reason="NOT TESTED: no pyspark here; `make .venv/.spark` installs it")
@pytest.mark.skipif(
    shutil.which("java") is None and "JAVA_HOME" not in os.environ,
    reason="NOT TESTED: Spark needs Java 17 or 21",
)
def test_retrain_on_two_workers_releases_a_serving_model(tmp_path: Path) -> None:
    """Two workers read, check, train, evaluate and write the users; the artifact serves, and no row is left."""
    base = write_block_ratings(tmp_path / "base")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MARQUEE_")}
    environment |= {
        "MARQUEE_OBJECTS_URL": (tmp_path / "objects").as_uri(),
        "PYTHONPATH": str(ROOT / "shared"),
        "OMP_NUM_THREADS": "1",
    }
    words = ["retrain", "--engine", "spark", "--base", str(base), "--no-database"]
    done = subprocess.run(
        [sys.executable, "-m", "marquee.cli.main", *words, "--params", str(_write_params(tmp_path))],
        env=environment,
        capture_output=True,
        text=True,
        timeout=560,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert _executors(tmp_path / "events") == {"0", "1"}
    store = connect((tmp_path / "objects").as_uri())
    version = release.read_current_release(store)[0].arms[0].version
    manifest = verify_artifact(store, version)
    assert (manifest.provenance.trainer, manifest.provenance.parameters["engine"]) == ("variational_bayes", "spark")
    assert "pyspark" in manifest.provenance.libraries
    assert (manifest.n_users, manifest.rating_rank) == (100, 7)
    assert manifest.metrics["ndcg@10"].value > manifest.metrics["popularity.ndcg@10"].value
    engine = Engine.load(store, version)
    profile = build_user_state(engine.item_factors, engine.read_record("b0u00"), None)
    _, items = engine.recommend(profile, 5)
    assert len({item.movie_id for item in items}) == 5
    ratings = engine.predict(profile, np.arange(20))
    assert 1 <= min(ratings) < max(ratings) <= 5
    assert not list(store.list("staging/"))


def test_session_without_pyspark_names_the_requirements(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what to install."""
    monkeypatch.setattr(spark_session, "find_spec", lambda name: None)
    monkeypatch.delenv("PYSPARK_GATEWAY_PORT", raising=False)
    with (
        pytest.raises(SettingsError, match=r"install requirements/spark\.txt"),
        spark_session.open_session(PARAMS.spark),
    ):
        pass


def test_session_without_java_names_its_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the supported versions of Java."""
    monkeypatch.setattr(spark_session, "find_spec", lambda name: object())
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.delenv("PYSPARK_GATEWAY_PORT", raising=False)
    with pytest.raises(SettingsError, match="needs Java 17 or 21"), spark_session.open_session(PARAMS.spark):
        pass


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ranker": "pure_svd"}, "has the ranker ease; params.yaml names 'pure_svd'"),
        (
            {"data": msgspec.structs.replace(PARAMS.data, user_attributes=["genres", "age"])},
            "has no cohorts of age: remove them from data.user_attributes",
        ),
    ],
)
def test_engine_refuses_parameters_that_it_lacks(changes: dict[str, object], message: str, tmp_path: Path) -> None:
    """The error is raised before Spark starts, and says what to change."""
    params = msgspec.structs.replace(PARAMS, **changes)
    with pytest.raises(SettingsError, match=message), open_engine(params, tmp_path.as_uri(), tmp_path):
        pass


def test_params_unknown_engine_is_refused(tmp_path: Path) -> None:
    """The error lists the engines that exist."""
    path = _write_params(tmp_path)
    path.write_text(path.read_text().replace("engine: local", "engine: steam"))
    with pytest.raises(SettingsError, match="engine is 'steam'; use one of local, spark"):
        Params.read(path)


class _Session:
    """A Spark session that no step uses."""


@pytest.mark.parametrize("resumable", [True, False])
def test_engine_after_an_outage_keeps_rows_that_a_resumed_run_needs(
    resumable: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The next run with the same inputs finds the rows; one that is not resumed leaves none."""
    monkeypatch.setattr(spark_engine, "open_session", lambda params: nullcontext(_Session()))
    url = (tmp_path / "objects").as_uri()

    def fail() -> None:
        with open_engine(PARAMS, url, tmp_path / "run", resumable=resumable) as engine:
            engine.staging.write("shards/00000.npz", b"rows")
            raise ObjectStoreUnavailable("an outage")

    with pytest.raises(ObjectStoreUnavailable):
        fail()
    assert len(list(connect(url).list("staging/"))) == int(resumable)
    with open_engine(PARAMS, url, tmp_path / "run", resumable=resumable) as engine:
        assert engine.staging.exists("shards/00000.npz") == resumable
    assert not list(connect(url).list("staging/"))
