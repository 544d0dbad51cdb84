"""Tests of whole backtests through the command line: no look into the future, and a killed run resumes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import psutil
import pytest

from marquee.backtest import backtest_jobs
from marquee.backtest.backtest_jobs import SURPRISE, BacktestInputs, Job, list_jobs, run_job
from marquee.backtest.backtest_plan import BacktestPlan, Block, ServedModel
from marquee.backtest.backtest_summary import BacktestReport
from marquee.backtest.engine_replay import Arrays
from marquee.backtest.event_stream import EventStream
from marquee.backtest.running_models import BIASES, POPULARITY
from marquee.cli.main import main
from marquee.data.dataset import Dataset
from marquee.training.params import Params

SERVED = ServedModel("bpmf", "ease")


@pytest.fixture
def arguments(base: Path, params_file: Path, tmp_path: Path) -> list[str]:
    out = str(tmp_path / "out")
    return [
        "backtest",
        "--base",
        str(base),
        "--params",
        str(params_file),
        "--cuts",
        "3",
        "--delay",
        "30m",
        "--out",
        out,
    ]


def read_report(arguments: list[str]) -> BacktestReport:
    return msgspec.json.decode((Path(arguments[-1]) / "backtest.json").read_bytes(), type=BacktestReport)


def without_costs(report: BacktestReport) -> BacktestReport:
    return msgspec.structs.replace(report, cost={})


def test_backtest_killed_run_resumes_to_the_same_report(
    arguments: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed when some parts are stored, the second run computes only the others; the figures are the same."""
    parts = Path(arguments[-1]) / "parts"
    process = subprocess.Popen([sys.executable, "-m", "marquee", *arguments], stdout=subprocess.DEVNULL)
    while process.poll() is None and len(list(parts.glob("*.npz"))) < 4:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    stored = len(list(parts.glob("*.npz")))
    assert stored >= 4
    computed: list[Job] = []

    def count(inputs: BacktestInputs, job: Job) -> Arrays:
        computed.append(job)
        return run_job(inputs, job)

    monkeypatch.setattr(backtest_jobs, "run_job", count)
    assert main(arguments) == 0
    resumed = read_report(arguments)
    assert len(computed) + stored == len(list(parts.glob("*.npz")))
    next(parts.glob("*.npz")).write_bytes(b"cut")
    capsys.readouterr()
    assert main(arguments) == 0, "a damaged part is computed again"
    assert without_costs(read_report(arguments)) == without_costs(resumed)
    printed = capsys.readouterr().out
    assert "480 ratings of 40 users" in printed
    assert {SURPRISE, BIASES, POPULARITY, SERVED.name} <= set(resumed.overall.metrics)
    assert resumed.overall.differences[BIASES]["rmse"].value < 0, "the planted groups are found"
    assert {"first week"} == set(resumed.by_movie_age)
    assert set(resumed.staleness) == {"0.5 h"}


def find_workers(parent: int) -> list[psutil.Process]:
    """Return the living processes that the parent has started."""
    return [child for child in psutil.Process(parent).children(recursive=True) if child.is_running()]


def test_backtest_killed_with_workers_leaves_no_process(arguments: list[str]) -> None:
    """Workers end with the process that reads their results."""
    parts = Path(arguments[-1]) / "parts"
    command = [sys.executable, "-m", "marquee", *arguments[:-2], "--workers", "2", *arguments[-2:]]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and not list(parts.glob("*.npz")):
        time.sleep(0.02)
    workers = find_workers(process.pid)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert workers
    _, alive = psutil.wait_procs(workers, timeout=20)
    assert not alive


def make_inputs(stream: EventStream, params_file: Path, model: ServedModel = SERVED) -> BacktestInputs:
    return BacktestInputs(stream, BacktestPlan(models=(model,), cuts=1, delays=()), Params.read(params_file))


def change_ratings(stream: EventStream, first: int) -> EventStream:
    """Return the stream with the ratings from event ``first`` on turned around."""
    values = stream.dataset.ratings.values.copy()
    values[first:] = 6 - values[first:]
    ratings = replace(stream.dataset.ratings, values=values)
    dataset: Dataset = replace(stream.dataset, ratings=ratings)
    return EventStream.from_dataset(dataset)


@pytest.mark.parametrize("model", [SERVED, ServedModel("bpmf", "ease", fold_in=False)], ids=lambda model: model.name)
def test_replay_later_ratings_change_no_prediction(stream: EventStream, params_file: Path, model: ServedModel) -> None:
    """Up to and including the changed rating, whose prediction comes before it; without fold-in no later one either."""
    results = []
    for events in (stream, change_ratings(stream, 400)):
        inputs = make_inputs(events, params_file, model)
        job = next(job for job in list_jobs(inputs) if job.model)
        results.append(run_job(inputs, msgspec.structs.replace(job, block=Block(300, 500, 500)))["predicted"])
    np.testing.assert_array_equal(results[0][:101], results[1][:101])
    assert (results[0][101:] == results[1][101:]).all() != model.fold_in


def test_backtest_unknown_trainer_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """The message names the trainers that there are."""
    assert main([*arguments[:-2], "--trainer", "nope", *arguments[-2:]]) == 1
    assert "bpmf" in capsys.readouterr().err


def test_backtest_imported_half_stars_equal_the_same_ratings_in_whole_stars(
    base: Path, params_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Imported ratings need no --scale: the figures are those of the same preferences, on the scale of the log."""
    table = [line.split(",") for line in (base / "ratings.csv").read_text().splitlines()]
    rows = [f"{user};{movie};{0.5 + (float(rating) - 1) * 4.5 / 4};{time}" for user, movie, rating, time in table[1:]]
    (tmp_path / "mine.csv").write_text("\n".join(["user;movie;stars;when", *rows, ""]))
    source = [str(tmp_path / "mine.csv"), "--to", str(tmp_path / "half"), "--columns", "time=when", "--scale", "0.5-5"]
    assert main(["data", "import", *source, "--movies", str(base / "movies.csv")]) == 0
    reports = []
    for data in (base, tmp_path / "half"):
        options = ["--params", str(params_file), "--cuts", "1", "--delay", "30m", "--out", str(tmp_path / data.name)]
        assert main(["backtest", "--base", str(data), *options]) == 0
        reports.append(read_report(options))
    assert "ratings of 0.5 to 5 are replayed and measured on the scale 1 to 5" in capsys.readouterr().out
    whole, half = (report.overall.metrics for report in reports)
    assert set(whole) == set(half)
    for model, metrics in whole.items():
        if "rmse" in metrics:
            assert half[model]["rmse"].value == pytest.approx(metrics["rmse"].value, abs=1e-5)
    monkeypatch.setenv("MARQUEE_RATING_SCALE", "0.5-5")
    options = ["--params", str(params_file), "--cuts", "1", "--delay", "30m", "--out", str(tmp_path / "own")]
    assert main(["backtest", "--base", str(tmp_path / "half"), *options]) == 0
    assert "replayed and measured" not in capsys.readouterr().out
    own = read_report(options).overall.metrics
    served = next(model for model in own if "ease" in model)
    assert own[served]["rmse"].value == pytest.approx(whole[served]["rmse"].value * 4.5 / 4, abs=1e-4)
