"""A retraining that was killed resumes in its work directory; each step's time and memory are on record."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.training.runs import GOOD, PARAMS_FILE, reference_params, retrain_until, write_block_ratings

from marquee.db.pool import Database
from marquee.db.retrain_runs import latest_runs
from marquee.errors import ObjectStoreUnavailable, TooFewRatings
from marquee.registry.object_store.connect import connect
from marquee.registry.object_store.object_store import ObjectStore
from marquee.training.pipeline import train_step
from marquee.training.pipeline.step_journal import StepJournal, read_journal
from marquee.training.pipeline.steps import STEPS
from marquee.training.train_model import train_model

_DEADLINE_S = 120


class Stopped(BaseException):
    """End of the process; no program catches it."""


class StepLog:
    """Progress callback that keeps the steps that began, and stops the run at the beginning of one."""

    def __init__(self, stop_at: str = "") -> None:
        self.begun: list[str] = []
        self._stop_at = stop_at

    def __call__(self, name: str, done: float) -> None:
        if name == self._stop_at:
            raise Stopped
        if name in STEPS and done == 0.0 and name not in self.begun:
            self.begun.append(name)


@pytest.fixture(scope="module")
def ratings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_block_ratings(tmp_path_factory.mktemp("resumed") / "base")


def test_retrain_stopped_at_a_step_resumes_there(store: ObjectStore, ratings: Path, tmp_path: Path) -> None:
    """The next run begins with the first step that was not complete, gives the same model and empties its directory."""
    work, names = tmp_path / "work", list(STEPS)
    expected = retrain_until(connect(f"file://{tmp_path}/other"), ratings, 1000).version
    for stop_at in ("check", "train", "fairness"):
        with pytest.raises(Stopped):
            retrain_until(store, ratings, 1000, work=work, progress=StepLog(stop_at))
    log = StepLog()
    result = retrain_until(store, ratings, 1000, work=work, progress=log)
    assert log.begun == names[names.index("fairness") :]
    assert (result.outcome, str(result.version).split("-")[1]) == ("released", str(expected).split("-")[1])
    assert list((work / "run").glob("*")) == []


def test_retrain_stopped_between_models_keeps_the_first(
    store: ObjectStore, ratings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The holdout model that was complete is not trained again."""
    fits: list[int] = []

    def fit(dataset: Any, *rest: Any) -> Any:
        fits.append(len(dataset.ratings))
        if len(fits) == 2:
            raise Stopped
        return train_model(dataset, *rest)

    monkeypatch.setattr(train_step, "train_model", fit)
    with pytest.raises(Stopped):
        retrain_until(store, ratings, 1000, work=tmp_path / "work")
    assert retrain_until(store, ratings, 1000, work=tmp_path / "work").outcome == "released"
    holdout, full, again = fits
    assert holdout < full == again


@pytest.mark.parametrize("change", ["until", "params"])
def test_retrain_with_other_inputs_starts_again(store: ObjectStore, ratings: Path, tmp_path: Path, change: str) -> None:
    """Files of a killed run with another time or other parameters are removed, not used."""
    work, log = tmp_path / "work", StepLog()
    with pytest.raises(Stopped):
        retrain_until(store, ratings, 1000, work=work, progress=StepLog("train"))
    second, params = (900, GOOD) if change == "until" else (1000, reference_params(n_factors=4))
    retrain_until(store, ratings, second, params, work=work, progress=log)
    assert log.begun == list(STEPS)


def test_retrain_failed_for_good_leaves_nothing_to_resume(store: ObjectStore, ratings: Path, tmp_path: Path) -> None:
    """A run that no retry can help does not bind the next one to its data; a store that is away does."""
    work = tmp_path / "work"
    with pytest.raises(TooFewRatings):
        retrain_until(store, ratings, 0, work=work)
    assert not (work / "run").exists()

    def fail(name: str, done: float) -> None:
        if name == "evaluate":
            raise ObjectStoreUnavailable("away")

    with pytest.raises(ObjectStoreUnavailable):
        retrain_until(store, ratings, 1000, work=work, progress=fail)
    journal = read_journal(work / "run")
    assert journal is not None
    assert list(journal.steps) == list(STEPS)[:5]


def test_retrain_records_time_and_memory_of_each_step(store: ObjectStore, ratings: Path, database_url: str) -> None:
    """The record of the run has seconds and peak memory of every step, and of the publication."""
    with closing(Database(database_url)) as database:
        result = retrain_until(store, ratings, 1000, database=database)
        (run,) = latest_runs(database, 1)
    for name in (*STEPS, "publish"):
        usage = result.usage[name]
        assert run.metrics[f"step.{name}.seconds"] == pytest.approx(usage.seconds)
        assert 20 < run.metrics[f"step.{name}.peak_mb"] < 20_000
    assert result.usage["train"].cpu_seconds > 0


def test_retrain_command_killed_resumes(ratings: Path, tmp_path: Path) -> None:
    """After SIGKILL during the training the same command, without --until, completes the same run."""
    params = tmp_path / "params.yaml"
    params.write_bytes(PARAMS_FILE.read_bytes().replace(b"sweeps: 100", b"sweeps: 400"))
    environment = {**os.environ, "MARQUEE_OBJECTS_URL": f"file://{tmp_path}/objects", "MARQUEE_DATABASE_URL": ""}
    work = tmp_path / "work"
    options = ["--base", str(ratings), "--params", str(params), "--work", str(work)]
    command = [sys.executable, "-m", "marquee", "retrain", *options]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    try:
        _wait_for_step(work / "run", "tune")
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    killed = read_journal(work / "run")
    assert killed is not None
    output = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    assert "released: release 1" in output
    for name, usage in killed.steps.items():
        assert f"step {name:<9}{usage}" in output


def _wait_for_step(root: Path, name: str) -> None:
    deadline = time.monotonic() + _DEADLINE_S
    while time.monotonic() < deadline:
        journal: StepJournal | None = read_journal(root)
        if journal and name in journal.steps:
            return
        time.sleep(0.05)
    raise AssertionError(f"{name} was not complete after {_DEADLINE_S} s: {msgspec.json.encode(read_journal(root))!r}")
