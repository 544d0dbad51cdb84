"""Memory of retraining: the evaluation of many users, and the frames of a snapshot."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from benchmarks.large_data import large_dataset, large_model
from benchmarks.registry import BenchmarkResult, at_most, benchmark, is_full_run
from marquee.config.base_data import RATINGS_FILE
from marquee.data import splits
from marquee.data.sources import read_base
from marquee.evaluation import group_fairness, offline
from marquee.evaluation.bootstrap import EvaluationParams
from marquee.evaluation.group_fairness import FairnessParams

_ITEMS = 27_000
_BOOTSTRAP = EvaluationParams(resamples=1000, interval=0.95)


@benchmark("evaluation_mb")
def evaluation_mb() -> Iterator[BenchmarkResult]:
    """Measure the evaluation of 200,000 users and 400,000 ratings; 1,000,000 and 2,000,000 in a full run."""
    users = 1_000_000 if is_full_run() else 200_000
    command = [sys.executable, "-m", "benchmarks.bench_training_memory", str(users)]
    output = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
    results = msgspec.json.decode(output, type=dict[str, float])
    reference = f"the process with data and model only: {results['before']:.0f} MB; {users:,} users x {_ITEMS:,} movies"
    goal = 1000 if is_full_run() else 400
    yield at_most("evaluation_mb", results["peak"], "MB", goal, reference=reference, reference_value=results["before"])


@benchmark("snapshot_bytes_per_rating")
def snapshot_bytes_per_rating() -> Iterator[BenchmarkResult]:
    """Measure the frame of 500,000 base ratings of 10,000 users and 5,000 movies."""
    ratings = 500_000
    with tempfile.TemporaryDirectory() as directory:
        with (Path(directory) / RATINGS_FILE).open("w") as file:
            file.write("user_id,movie_id,rating,time\n")
            file.writelines(f"{k % 10_000},the+movie+{k // 100:04}+1990,{k % 5 + 1},{k}\n" for k in range(ratings))
        frame = read_base(Path(directory), datetime.now(UTC)).ratings
    text = frame.astype({"user_id": object, "movie_id": object})
    value, reference_value = (f.memory_usage(deep=True).sum() / ratings for f in (frame, text))
    reference = f"the same frame with ids as text objects: {reference_value:.0f} bytes"
    yield at_most(
        "snapshot_bytes_per_rating",
        float(value),
        "bytes",
        26,
        reference=reference,
        reference_value=float(reference_value),
    )


def _measure_evaluation(users: int) -> dict[str, float]:
    split = splits.temporal_holdout(large_dataset(users, _ITEMS, 2 * users), 0.1)
    model = large_model(split, rank=32)
    Path("/proc/self/clear_refs").write_text("5")  # Linux: the peak starts again at the present size.
    before = _memory_mb("VmRSS")
    offline.evaluate(model, split, _BOOTSTRAP, 1, "")
    group_fairness.evaluate_groups(model, split, {}, FairnessParams(min_users=50), _BOOTSTRAP, 1, "")
    return {"before": before, "peak": _memory_mb("VmHWM")}


def _memory_mb(name: str) -> float:
    found = re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found, f"/proc/self/status has no {name}"
    return int(found[1]) / 1024


def _main(arguments: Sequence[str]) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(_measure_evaluation(int(arguments[0]))))


if __name__ == "__main__":
    _main(sys.argv[1:])
