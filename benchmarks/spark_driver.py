"""Memory of the driver of ``engine: spark``, with all steps from a Parquet snapshot to the files of the artifact.

The workers make the snapshot themselves: random ratings, of which each worker writes one part.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd

from marquee.config.atomic_file import atomic_directory
from marquee.data import deterministic_io, snapshot
from marquee.data.snapshot import SnapshotInfo, SnapshotRequest
from marquee.evaluation.bootstrap import EvaluationParams
from marquee.models.trainer_port import no_progress
from marquee.registry.artifact import write_artifact
from marquee.registry.object_store.connect import connect
from marquee.training.cluster.snapshot_parts import BASE, parquet_name
from marquee.training.cluster.spark_engine import SparkEngine
from marquee.training.cluster.spark_session import SparkParams, open_session
from marquee.training.cluster.user_shards import Staging
from marquee.training.params import Params
from marquee.training.pipeline.pipeline_run import SNAPSHOT, PipelineRun
from marquee.training.pipeline.snapshot_step import write_serving

ROOT = Path(__file__).parents[1]
MOVIES, RATINGS_PER_USER, SHARDS = 1_000, 10, 8
_UNTIL = datetime(2026, 1, 1, tzinfo=UTC)


class DriverMeasure(msgspec.Struct, frozen=True):
    """Peak resident memory of the driver's Python process and of its JVM, in MB, and the number of users stored."""

    python_mb: float
    jvm_mb: float
    users: int


def measure_driver(users: int) -> DriverMeasure:
    """Run the pipeline for ``users`` in a process of its own, on a cluster of two workers."""
    command = [sys.executable, "-m", "benchmarks.spark_driver", str(users)]
    output = subprocess.run(command, stdout=subprocess.PIPE, check=True, cwd=ROOT).stdout
    return msgspec.json.decode(output.splitlines()[-1], type=DriverMeasure)


def _write_part(staging: Staging, users: int, number: int) -> None:
    rng = np.random.default_rng(number)
    own = np.arange(number, users, SHARDS)
    items = np.minimum(rng.exponential(MOVIES / 6, (len(own), RATINGS_PER_USER)).astype(int), MOVIES - 1)
    n = items.size
    frame = pd.DataFrame(
        {
            "user_id": [f"u{user}" for user in np.repeat(own, RATINGS_PER_USER)],
            "movie_id": [f"m+{item}" for item in items.ravel()],
            "value": rng.integers(1, 6, n).astype(float),
            "time": rng.integers(10**15, 2 * 10**15, n),
        }
    )
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "part.parquet"
        deterministic_io.write_interactions(path, frame)
        staging.write(parquet_name(BASE, number), path)


def _run(users: int, directory: Path) -> DriverMeasure:
    params = Params.read(ROOT / "params.yaml")
    settings = SparkParams("local-cluster[2,1,1024]", SHARDS, 15, 2, {"spark.driver.memory": "1g"})
    params = msgspec.structs.replace(
        params,
        spark=settings,
        evaluation=EvaluationParams(resamples=50, interval=0.95),
        tuning=msgspec.structs.replace(params.tuning, max_ratings=50_000, max_users=200, budget_s=2),
    )
    url = (directory / "objects").as_uri()
    with open_session(params.spark) as spark:
        run = PipelineRun(directory, params, SnapshotRequest(_UNTIL, None, 1.0, 5.0), no_progress, store=connect(url))
        engine = SparkEngine(spark, params, url, directory)
        spark.sparkContext.parallelize(range(SHARDS), SHARDS).map(partial(_write_part, engine.staging, users)).collect()
        with atomic_directory(run.path(SNAPSHOT)) as out:
            deterministic_io.write_texts(out / snapshot.MOVIES, "movie_id", {})
            (out / snapshot.ABOUT).write_bytes(msgspec.json.encode(SnapshotInfo(_UNTIL, 1.0, 5.0, False, {})))
        write_serving(run)
        for name, step in engine.steps.items():
            if name != "snapshot":
                step.run(run)
        model, stored = engine.load_full_model(run)
        write_artifact(connect(url), model, users=stored, trained_through=_UNTIL)
        jvm = spark.sparkContext._gateway.proc.pid
        return DriverMeasure(_peak_mb("self"), _peak_mb(str(jvm)), stored.n_users)


def _peak_mb(process: str) -> float:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text())
    assert found
    return int(found[1]) / 1024


def _main(arguments: Sequence[str]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        measured = _run(int(arguments[0]), Path(directory))
    sys.stdout.buffer.write(msgspec.json.encode(measured) + b"\n")


if __name__ == "__main__":
    _main(sys.argv[1:])
